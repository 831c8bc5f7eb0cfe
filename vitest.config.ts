import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    // Two cores are the machine we promise to pass on; kernels bring their own threads.
    maxWorkers: 2,
    // A time-out says "hangs", not "slow": the machine may be busy.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
})
