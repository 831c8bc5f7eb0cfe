import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import { openFolder } from "../weights/files-node"
import { bytesSource, type FileSet } from "../weights/source"
import { ChatTemplate, type TemplateMessage } from "./chat-template"

const path = (relative: string) => fileURLToPath(new URL(`../../${relative}`, import.meta.url))

interface Golden {
  cases: {
    messages: TemplateMessage[]
    options: { add_generation_prompt?: boolean; enable_thinking?: boolean }
    text: string
  }[]
}

const memory = (contents: Record<string, string | object>): FileSet => ({
  name: "memory",
  has: async (file) => file in contents,
  open: async (file) => {
    const content = contents[file]
    return bytesSource(file, new TextEncoder().encode(typeof content === "string" ? content : JSON.stringify(content)))
  },
})

const say = [{ role: "user", content: "hi" }]

describe("ChatTemplate", () => {
  it("renders Qwen3's template as Jinja2 does", async () => {
    const { cases } = JSON.parse(readFileSync(path("test/fixtures/tokenizer/qwen3-template.json"), "utf8")) as Golden
    const template = await ChatTemplate.load(await openFolder(path("models/isaac-tiny")))
    expect(cases.length).toBe(21)
    for (const { messages, options, text } of cases) {
      const rendered = template?.render(messages, {
        addGenerationPrompt: options.add_generation_prompt ?? false,
        enableThinking: options.enable_thinking,
      })
      expect({ messages, options, text: rendered }).toEqual({ messages, options, text })
    }
  })

  it("is found in the template file first, then in the JSON files", async () => {
    const files = {
      "chat_template.jinja": "file",
      "chat_template.json": { chat_template: "json" },
      "tokenizer_config.json": { chat_template: "config" },
    }
    const { "chat_template.jinja": _, ...json } = files
    const { "chat_template.json": __, ...config } = json
    expect((await ChatTemplate.load(memory(files)))?.render(say)).toBe("file")
    expect((await ChatTemplate.load(memory(json)))?.render(say)).toBe("json")
    expect((await ChatTemplate.load(memory(config)))?.render(say)).toBe("config")
    expect(await ChatTemplate.load(memory({}))).toBeUndefined()
    const named = [
      { name: "tool_use", template: "tools" },
      { name: "default", template: "plain" },
    ]
    expect((await ChatTemplate.load(memory({ "tokenizer_config.json": { chat_template: named } })))?.render(say)).toBe(
      "plain",
    )
  })

  it("knows the checkpoint's tokens by name", async () => {
    const files = memory({
      "chat_template.jinja": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}",
      "tokenizer_config.json": { bos_token: { content: "<s>" }, eos_token: "</s>", pad_token: null },
    })
    expect((await ChatTemplate.load(files))?.render(say)).toBe("<s>hi</s>")
  })

  it("defines enable_thinking only when it is given", () => {
    const template = new ChatTemplate("{{ enable_thinking is defined }} {{ enable_thinking }}")
    expect(template.render(say)).toMatch(/^false/i)
    expect(template.render(say, { enableThinking: true })).toMatch(/^true true/i)
    expect(template.render(say, { enableThinking: false })).toMatch(/^true false/i)
  })

  it("names what does not compile and what it refuses", () => {
    expect(() => new ChatTemplate("{% if %}", "the template")).toThrow(
      expect.objectContaining({
        code: "bad_checkpoint",
        message: expect.stringContaining("the template is not valid"),
      }),
    )
    const strict = new ChatTemplate("{{ raise_exception('only one turn, please') }}")
    expect(() => strict.render(say)).toThrow(
      expect.objectContaining({ code: "bad_input", message: expect.stringMatching(/\(user\): only one turn, please/) }),
    )
  })
})
