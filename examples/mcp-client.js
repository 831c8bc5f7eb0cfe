// Ask `isaac mcp` as an agent does, with the protocol's own SDK (npm install @modelcontextprotocol/sdk).
//
//     node examples/mcp-client.js PICTURE "Where is the red circle?"

import { fileURLToPath } from "node:url"
import { Client } from "@modelcontextprotocol/sdk/client/index.js"
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js"

const [picture, question] = process.argv.slice(2)

// Outside of this repository: command "npx", args ["-y", "isaac-vlm", "mcp"].
const command = fileURLToPath(new URL("../bin/isaac.js", import.meta.url))
const client = new Client({ name: "example", version: "1.0.0" })
await client.connect(new StdioClientTransport({ command: process.execPath, args: [command, "mcp"], stderr: "ignore" }))

const { tools } = await client.listTools()
console.log(`tools: ${tools.map(({ name }) => name).join(", ")}`)

const answer = await client.callTool(
  { name: "question", arguments: { media_url: picture, modality: "image", question, output_format: "box" } },
  undefined,
  // The first call may load the model: its notices keep the call alive.
  { onprogress: ({ message }) => message?.includes("100 %") && console.log(message), resetTimeoutOnProgress: true },
)
for (const part of answer.content) console.log(part.text)
if (!answer.isError) console.log(`model: ${answer.structuredContent.model}`)
await client.close()
