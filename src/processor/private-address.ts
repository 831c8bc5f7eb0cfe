/** Which IP addresses belong to the public Internet, and which reach into somebody's own network. */

import { IsaacError } from "../errors"

/** Why addresses under a prefix are not public. */
type Block = readonly [prefix: string, bits: number, why: string]

const THIS_MACHINE = "this machine itself (loopback)"
const PRIVATE = "a private network"
const LINK_LOCAL = "link-local, where clouds keep their machines' credentials"
const RESERVED = "reserved, no address of the Internet"

/** IANA's registry of special addresses, and one that Azure uses. */
const IPV4_BLOCKS: readonly Block[] = [
  ["0.0.0.0", 8, "this machine's own network"],
  ["10.0.0.0", 8, PRIVATE],
  ["100.64.0.0", 10, "a network that a provider shares among its customers"],
  ["127.0.0.0", 8, THIS_MACHINE],
  ["168.63.129.16", 32, "a machine's own cloud"],
  ["169.254.0.0", 16, LINK_LOCAL],
  ["172.16.0.0", 12, PRIVATE],
  ["192.0.0.0", 24, RESERVED],
  ["192.0.2.0", 24, RESERVED],
  ["192.88.99.0", 24, RESERVED],
  ["192.168.0.0", 16, PRIVATE],
  ["198.18.0.0", 15, "a network for measurements"],
  ["198.51.100.0", 24, RESERVED],
  ["203.0.113.0", 24, RESERVED],
  ["224.0.0.0", 4, "a group of machines (multicast)"],
  ["240.0.0.0", 4, RESERVED],
]

/** Of IPv6 only 2000::/3 has been given out; these are parts of it, or better names for what lies outside. */
const IPV6_BLOCKS: readonly Block[] = [
  ["::", 128, "this machine's own network"],
  ["::1", 128, THIS_MACHINE],
  ["fc00::", 7, PRIVATE],
  ["fe80::", 10, LINK_LOCAL],
  ["fec0::", 10, PRIVATE],
  ["ff00::", 8, "a group of machines (multicast)"],
  ["2001::", 23, RESERVED], // Teredo and other ways through foreign networks
  ["2001:db8::", 32, RESERVED],
  ["3ffe::", 16, RESERVED],
  ["3fff::", 20, RESERVED],
]

/** IPv6 addresses that stand for an IPv4 address, and the bits below it. */
const EMBEDDINGS: readonly (readonly [prefix: string, bits: number, below: number])[] = [
  ["::ffff:0:0", 96, 0],
  ["::ffff:0:0:0", 96, 0],
  ["64:ff9b::", 96, 0],
  ["2002::", 16, 80],
]

/**
 * Undefined for an address of the public Internet; otherwise a few words on what it is: "a private network".
 *
 * @param address as text, IPv4 (dotted) or IPv6; an IPv4 address inside an IPv6 one is judged itself
 * @throws IsaacError `internal` for what is no address
 */
export function whyNotPublic(address: string): string | undefined {
  const ipv4 = parseIpv4(address)
  if (ipv4 !== undefined) return blockOf(ipv4, 32, IPV4_BLOCKS)
  const ipv6 = parseIpv6(address)
  if (ipv6 === undefined) throw new IsaacError("internal", `${JSON.stringify(address)} is no IP address`)
  for (const [prefix, bits, below] of EMBEDDINGS) {
    if (isWithin(ipv6, 128, prefix, bits)) {
      return blockOf((ipv6 >> BigInt(below)) & 0xffff_ffffn, 32, IPV4_BLOCKS)
    }
  }
  return blockOf(ipv6, 128, IPV6_BLOCKS) ?? (isWithin(ipv6, 128, "2000::", 3) ? undefined : RESERVED)
}

function blockOf(address: bigint, length: 32 | 128, blocks: readonly Block[]): string | undefined {
  return blocks.find(([prefix, bits]) => isWithin(address, length, prefix, bits))?.[2]
}

function isWithin(address: bigint, length: 32 | 128, prefix: string, bits: number): boolean {
  const rest = BigInt(length - bits)
  return address >> rest === (length === 32 ? parseIpv4(prefix)! : parseIpv6(prefix)!) >> rest
}

/** a.b.c.d in decimal, without leading zeros. */
function parseIpv4(text: string): bigint | undefined {
  const parts = text.split(".")
  if (parts.length !== 4) return undefined
  let value = 0n
  for (const part of parts) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return undefined
    value = (value << 8n) | BigInt(part)
  }
  return value
}

/** Groups of 16 bits, `::` for a run of zeros, perhaps a dotted end, perhaps a zone. */
function parseIpv6(text: string): bigint | undefined {
  let groups = text.replace(/%.*$/s, "").toLowerCase()
  const dotted = /[^:]*\.[^:]*$/.exec(groups)
  if (dotted) {
    const ipv4 = parseIpv4(dotted[0])
    if (ipv4 === undefined) return undefined
    groups = `${groups.slice(0, dotted.index)}${(ipv4 >> 16n).toString(16)}:${(ipv4 & 0xffffn).toString(16)}`
  }
  const halves = groups.split("::")
  if (halves.length > 2) return undefined
  const [head, tail] = halves.map((half) => (half === "" ? [] : half.split(":")))
  const zeros = 8 - head.length - (tail?.length ?? 0)
  if (tail === undefined ? zeros !== 0 : zeros < 1) return undefined
  const all = tail === undefined ? head : [...head, ...Array<string>(zeros).fill("0"), ...tail]
  let value = 0n
  for (const group of all) {
    if (!/^[0-9a-f]{1,4}$/.test(group)) return undefined
    value = (value << 16n) | BigInt(`0x${group}`)
  }
  return value
}
