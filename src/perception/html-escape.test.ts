import { describe, expect, it } from "vitest"
import { escapeHtml, unescapeHtml } from "./html-escape"

describe("unescapeHtml", () => {
  // Every expected value is what Python's html.unescape gives.
  it.each([
    ["no reference & none; here &", "no reference & none; here &"],
    ["&amp;&lt;&gt;&quot;&apos;&#x27;&#39", "&<>\"'''"],
    ["caf&eacute; &hellip; &NotEqualTilde;", "café … ≂̸"],
    ["&copy2 &notit; &notin; &ampamp;", "©2 ¬it; ∉ &amp;"],
    ["&hellip &unknown; &;", "&hellip &unknown; &;"],
    ["&#128; &#x81; &#0; &#xd800; &#x110000; &#13;.", "€ \x81 \ufffd \ufffd \ufffd \r."],
    ["[&#1;&#x7f;&#xfdd0;&#x1fffe;]", "[]"],
    ["&#x1F431;", "🐱"],
    ["&#;&#x;&#99999999999;", "&#;&#x;\ufffd"],
  ])("%j", (text, plain) => {
    expect(unescapeHtml(text)).toBe(plain)
  })

  it("undoes escapeHtml", () => {
    const text = `&lt; a "q" & <b> 'c' &#65; 猫`
    expect(escapeHtml(text)).toBe("&amp;lt; a &quot;q&quot; &amp; &lt;b&gt; &#x27;c&#x27; &amp;#65; 猫")
    expect(unescapeHtml(escapeHtml(text))).toBe(text)
  })
})
