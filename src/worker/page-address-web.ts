/** What addresses are relative to: those of the page, or of the worker that this runs in. */
export function pageAddress(): string {
  return globalThis.document?.baseURI ?? location.href
}
