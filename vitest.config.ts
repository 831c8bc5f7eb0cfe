import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    // Two cores are the machine we promise to pass on; kernels bring their own threads.
    maxWorkers: 2,
    testTimeout: 30_000,
  },
})
