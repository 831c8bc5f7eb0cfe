import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { PageCaller } from "./page-caller-web"

let closed: FakeBitmap[]

class FakeBitmap {
  readonly of: unknown
  constructor(of: unknown) {
    this.of = of
  }
  close(): void {
    closed.push(this)
  }
}

class FakeCanvas {
  readonly width: number
  constructor(width: number) {
    this.width = width
  }
}

/** What a page has, as far as it is used here. */
beforeEach(() => {
  closed = []
  vi.stubGlobal("ImageBitmap", FakeBitmap)
  vi.stubGlobal("HTMLCanvasElement", FakeCanvas)
  vi.stubGlobal("document", { baseURI: "https://a.example/pages/one.html" })
  vi.stubGlobal("createImageBitmap", async (canvas: FakeCanvas) => {
    if (canvas.width === 0) throw new Error("no pixels")
    return new FakeBitmap(canvas)
  })
})
afterEach(() => {
  vi.unstubAllGlobals()
})

interface Sent {
  readonly name: string
  readonly input: unknown
  readonly closed: number
}

/** A page's caller, and what it hands on. */
function caller() {
  const sent: Sent[] = []
  const inner = {
    async call(name: string, input: unknown) {
      sent.push({ name, input, closed: closed.length })
    },
    async *iterate(name: string, input: unknown) {
      sent.push({ name, input, closed: closed.length })
      yield {}
    },
  }
  return { page: new PageCaller(inner as never), sent }
}

async function ask(page: PageCaller, way: string, input: object): Promise<void> {
  if (way === "call") await page.call("score", input as never)
  else for await (const _ of page.iterate("respond", input as never));
}

describe.each(["call", "iterate"])("what a page gives to %s", (way) => {
  it("is made into what a worker can read, the pictures of examples too, and bitmaps are given up", async () => {
    const { page, sent } = caller()
    const [asked, drawn] = [new FakeCanvas(1), new FakeCanvas(2)]
    const own = new FakeBitmap("the page's own")
    const examples = [
      { image: drawn, question: "Where?", annotations: [] },
      { image: "../b.png", annotations: [] },
      { image: own, annotations: [] },
    ]
    const input = { images: [asked, "c.png"], question: "And here?", options: { seed: 7, examples } }
    await ask(page, way, input)
    expect(sent).toMatchObject([
      {
        closed: 0,
        input: {
          images: [{ of: asked }, "https://a.example/pages/c.png"],
          question: "And here?",
          options: {
            seed: 7,
            examples: [
              { image: { of: drawn }, question: "Where?" },
              { image: "https://a.example/b.png" },
              { image: own },
            ],
          },
        },
      },
    ])
    expect(closed.map((bitmap) => bitmap.of)).toEqual([asked, drawn])
    expect(examples[0].image, "the page's own list is left as it is").toBe(drawn)
  })

  it("gives bitmaps up as well when a picture of an example has none", async () => {
    const { page, sent } = caller()
    const input = {
      images: [new FakeCanvas(1)],
      options: { examples: [{ image: new FakeCanvas(0), annotations: [] }] },
    }
    await expect(ask(page, way, input)).rejects.toMatchObject({ code: "bad_image" })
    expect(closed).toHaveLength(1)
    expect(sent).toEqual([])
  })

  it("is left to the engine to refuse where it is no list", async () => {
    const { page, sent } = caller()
    for (const options of [{ examples: 7 }, { examples: [null] }, { examples: [{}] }, undefined]) {
      await ask(page, way, { images: [], options })
      expect(sent.pop()?.input).toEqual({ images: [], options })
    }
  })
})
