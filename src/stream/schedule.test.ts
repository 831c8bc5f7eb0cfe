import { expect, test } from "vitest"
import { readGoldenJson } from "../../test/golden"
import { IsaacError } from "../errors"
import type { EventType } from "./event"
import { scheduleEvents } from "./schedule"

interface ScheduleGolden {
  cases: {
    events: { type: EventType; time: [number, number] }[]
    priority: EventType[]
    note: string | null
    result?: number[]
    error?: string
  }[]
}

test("every order of the reference", () => {
  const { cases } = readGoldenJson<ScheduleGolden>("tensorstream/schedule_events.json")
  expect(cases.length).toBe(70)
  for (const { events, priority, result, note } of cases) {
    if (result) expect(scheduleEvents(events, priority), note ?? JSON.stringify(events)).toEqual(result)
    else expect(() => scheduleEvents(events, priority), note ?? "").toThrow(IsaacError)
  }
})

test("a long chain of waiting events comes out in priority order", () => {
  // One long event of each kind over many instants of the more urgent kind: all instants inside go first.
  const instants = Array.from({ length: 500 }, (_, i) => ({ type: "text" as const, time: [i + 0.5, i + 0.5] as const }))
  const order = scheduleEvents([{ type: "image", time: [0, 500] }, ...instants], ["text", "image"])
  expect(order.at(-1)).toBe(0)
  expect(order.slice(0, -1)).toEqual(instants.map((_, i) => i + 1))
})

test("an event that ends before another starts does not overlap it, even when its own start is later", () => {
  const turned = { type: "text", time: [6, 2] } as const
  expect(scheduleEvents([{ type: "image", time: [5, 9] }, turned], ["text", "image"])).toEqual([0, 1])
  expect(scheduleEvents([{ type: "image", time: [1, 9] }, turned], ["text", "image"])).toEqual([1, 0])
})
