export interface Measured {
  readonly label: string
  readonly best: Readonly<Record<string, number | string | undefined>>
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
export function goalTable(goals: readonly Goal[], find: (key: string) => Measured["best"] | undefined): string
