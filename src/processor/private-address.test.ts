import { describe, expect, it } from "vitest"
import { whyNotPublic } from "./private-address"

describe("whyNotPublic", () => {
  const notPublic: Record<string, string[]> = {
    "this machine": ["127.0.0.1", "127.255.255.255", "0.0.0.0", "0.1.2.3", "::", "::1", "0:0:0:0:0:0:0:1"],
    "a private network": [
      ...["10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.0", "192.168.255.255"],
      ...["fc00::1", "fd00::1", "fd00:ec2::254", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fec0::1"],
    ],
    "link-local": ["169.254.0.0", "169.254.169.254", "fe80::1", "fe80::1%eth0", "febf::1", "FE80::A"],
    "provider shares": ["100.64.0.0", "100.100.100.200", "100.127.255.255"],
    "own cloud": ["168.63.129.16"],
    measurements: ["198.18.0.0", "198.19.255.255"],
    multicast: ["224.0.0.1", "239.255.255.255", "ff02::1"],
    reserved: [
      ...["192.0.0.192", "192.0.2.1", "192.88.99.1", "198.51.100.7", "203.0.113.1", "240.0.0.1", "255.255.255.255"],
      ...["2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:10::1", "2001:db8::1", "3fff::1", "3ffe::1"],
      ...["::2", "::7f00:1", "::8.8.8.8", "100::1", "64:ff9b:1::1", "4000::1", "1fff::1", "5f00::1"],
    ],
  }
  for (const [what, addresses] of Object.entries(notPublic)) {
    it.each(addresses)(`${what}: %s`, (address) => {
      expect(whyNotPublic(address)).toContain(what)
    })
  }

  it.each([
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::FFFF:10.1.2.3",
    "::ffff:0:127.0.0.1",
    "64:ff9b::192.168.0.1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2002:c0a8:101:1::1",
  ])("an address inside another: %s", (address) => {
    expect(whyNotPublic(address)).toBeDefined()
  })

  it.each([
    ...["1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255"],
    ...[
      "128.0.0.0",
      "168.63.129.15",
      "169.253.255.255",
      "169.255.0.0",
      "172.15.255.255",
      "172.32.0.0",
      "191.255.255.255",
    ],
    ...["192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255"],
    ...["2606:4700::1111", "2001:200::1", "2001:4860:4860::8888", "2003::1", "2a00::1", "3ff0::1"],
    ...["::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"],
  ])("public: %s", (address) => {
    expect(whyNotPublic(address)).toBeUndefined()
  })

  it.each([
    ...["", "localhost", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "0x7f.0.0.1", "2130706433", "1.2.3.4 "],
    ...[":", ":::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "1:2:3:4:5:6:7::8:9", "g::", "12345::", "::1.2.3"],
    ...["::1.2.3.256", "[::1]", ":1:2:3:4:5:6:7"],
  ])("no address at all: %j", (address) => {
    expect(() => whyNotPublic(address)).toThrow(/no IP address/)
  })

  it("the forms that addresses take in a URL are one when the URL is parsed", () => {
    const hosts = [
      "2130706433",
      "0x7f000001",
      "017700000001",
      "0x7f.1",
      "127.1",
      "127.0.0.1.",
      "①②⑦.0.0.1",
      "127。0。0。1",
    ]
    for (const host of hosts) expect(new URL(`http://${host}/`).hostname).toBe("127.0.0.1")
    expect(new URL("http://[::ffff:127.0.0.1]/").hostname).toBe("[::ffff:7f00:1]")
    expect(() => new URL("http://[fe80::1%25eth0]/")).toThrow()
  })
})
