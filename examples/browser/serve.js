// node examples/browser/serve.js [PORT]
// Serves the package to this machine only, with the headers that give a page threads. Any web server will do that sends
// these headers; one that also does ranges lets a download go on where it broke off.
import { createReadStream } from "node:fs"
import { stat } from "node:fs/promises"
import { createServer } from "node:http"
import { extname, join, normalize } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../../", import.meta.url))
const types = { ".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".wasm": "application/wasm" }

createServer(async (request, response) => {
  response.setHeader("Cross-Origin-Opener-Policy", "same-origin")
  response.setHeader("Cross-Origin-Embedder-Policy", "require-corp")
  const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname).replace(/\/$/, "/index.html")
  const file = join(root, normalize(path))
  const hidden = !file.startsWith(root) || /[\\/]\./.test(path)
  const found = hidden ? undefined : await stat(file).catch(() => undefined)
  if (!found?.isFile()) {
    response.writeHead(404).end()
    return
  }
  response.setHeader("Content-Type", types[extname(file)] ?? "application/octet-stream")
  response.setHeader("ETag", `"${found.size}-${found.mtimeMs}"`)
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "")
  const start = range ? Number(range[1]) : 0
  const end = Math.min(range?.[2] ? Number(range[2]) : Number.POSITIVE_INFINITY, found.size - 1)
  if (range && start < found.size) {
    response.writeHead(206, {
      "Content-Range": `bytes ${start}-${end}/${found.size}`,
      "Content-Length": end - start + 1,
    })
  } else if (range) {
    response.writeHead(416, { "Content-Range": `bytes */${found.size}` }).end()
    return
  } else {
    response.setHeader("Content-Length", found.size)
  }
  if (request.method === "HEAD") response.end()
  else createReadStream(file, { start, end: Math.max(start, end) }).pipe(response)
}).listen(Number(process.argv[2] ?? 8080), "127.0.0.1", function () {
  console.log(`http://localhost:${this.address().port}/examples/browser/`)
})
