export interface Measured {
  readonly label: string
  readonly best: Readonly<Record<string, number | string | undefined>>
}
export interface Subject extends Measured {
  readonly key?: string
  readonly ours?: boolean
  readonly backend?: string
  readonly bytesPerNumber?: number
}
export interface Facts {
  readonly date: string
  readonly machine: string
  readonly node: string
  readonly threads: number
  readonly clock: string
  readonly prompt: number
  readonly steps: number
  readonly rounds: number
  readonly busy: number
  readonly layers?: number
}
export interface Goal {
  readonly name: string
  readonly unit: string
  readonly least?: number
  readonly most?: number
  readonly value: (find: (key: string) => Measured["best"] | undefined) => number | undefined
}
export function digits(value: number | null | undefined): string
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string
export function replaceSection(page: string, section: string): string
export function speedTable(subjects: readonly Measured[]): string
export function ratioTable(ours: readonly Measured[], peers: readonly Measured[]): string
export function goalTable(
  goals: readonly Goal[],
  find: (key: string) => Measured["best"] | undefined,
): string | undefined
export function measuredSection(all: {
  readonly measured: readonly Subject[]
  readonly limits: Readonly<Record<string, { readonly dot: number; readonly read: number }>>
  readonly goals: readonly Goal[]
  readonly skipped: readonly string[]
  readonly facts: Facts
}): string
