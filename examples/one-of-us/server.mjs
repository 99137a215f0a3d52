// The rendezvous server, and beside it what the job changes: a resource that refuses whoever comes with an old token.
import { createServer } from "node:http";
import { serve } from "fullmesh";

let newestToken = 0;
const resource = createServer((request, response) => {
  const { searchParams } = new URL(request.url, "http://resource");
  const token = Number(searchParams.get("token"));
  const isCurrent = token >= newestToken;
  newestToken = Math.max(newestToken, token);
  console.log(isCurrent ? "done" : "refused", searchParams.get("by"), token);
  response.writeHead(isCurrent ? 200 : 409).end();
});
resource.listen(Number(process.argv[3] ?? 4080), "127.0.0.1", async () => {
  const server = await serve({ listen: process.argv[2] ?? "127.0.0.1:4000" });
  console.log("serving", server.address, `http://127.0.0.1:${resource.address().port}`);
});
