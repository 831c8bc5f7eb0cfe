import { describe, expect, it } from "vitest"
import { glyphDot, hasGlyph } from "./label-font"
import { cutToCells, foldToFont, textCells } from "./label-text"

describe("foldToFont", () => {
  it("writes what has a likeness in characters that the font has", () => {
    expect(foldToFont("Żółć déjà-vu Ñandú İstanbul Čeština Ångström")).toBe(
      "Zolc deja-vu Nandu Istanbul Cestina Angstrom",
    )
    expect(foldToFont("Straße, Æther, œuvre, Łódź, Đà Nẵng")).toBe("Strasse, AEther, oeuvre, Lodz, Da Nang")
    expect(foldToFont("“quotes” – and… ‘these’ ½ ﬁne ＡＢ")).toBe(`"quotes" - and... 'these' 1/2 fine AB`)
    expect(foldToFont("20 °C ± 3 µm² × €5")).toBe("20 °C ± 3 µm² × €5")
    expect(foldToFont("e\u0301 n\u0303")).toBe("e n")
  })

  it("leaves what has none, for the box that stands for it", () => {
    expect(foldToFont("猫 Кот 🐱")).toBe("猫 Кот 🐱")
    expect(foldToFont("👩🏽‍🚒\ufe0f")).toBe("👩🚒")
    expect(hasGlyph("猫") || hasGlyph("К") || hasGlyph("🐱") || hasGlyph("\0")).toBe(false)
  })

  it("has glyphs of its own for signs", () => {
    const dots = (character: string) =>
      Array.from({ length: 45 }, (_, i) => glyphDot(character, i % 5, Math.floor(i / 5))).join("")
    const signs = [..."°µ²³±÷€£§·"]
    expect(new Set(signs.map(dots)).size).toBe(signs.length)
    for (const sign of [...signs, "×", "μ"]) {
      expect(hasGlyph(sign), sign).toBe(true)
      expect(dots(sign)).toMatch(/1/)
    }
  })
})

describe("cutToCells", () => {
  it("counts wide characters twice and those that combine not at all", () => {
    expect(textCells("cat")).toBe(3)
    expect(textCells("猫と犬")).toBe(6)
    expect(textCells("e\u0301")).toBe(1)
    expect(textCells("👩🏽‍🚒")).toBe(4)
  })

  it("keeps what fits beside three dots", () => {
    expect(cutToCells("a long label", 12)).toBe("a long label")
    expect(cutToCells("a long label", 11)).toBe("a long l...")
    expect(cutToCells("a long label", 10)).toBe("a long...")
    expect(cutToCells("猫と犬と鳥", 9)).toBe("猫と犬...")
    expect(cutToCells("long", 2)).toBe("l...")
  })
})
