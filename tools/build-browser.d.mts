export function buildBrowser(out?: string, more?: Readonly<Record<string, string>>): Promise<void>
