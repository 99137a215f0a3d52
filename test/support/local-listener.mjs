// Listens on a local socket, for tests. Prints a line of JSON: the path, or the code of the error. Arguments: the module with
// `listenLocally`, and the path. At a line on stdin it begins, and at its end this process ends.
import { once } from "node:events";
import { createServer } from "node:net";

process.stdin.on("end", () => process.exit());
const [, , entry, path] = process.argv;
const { listenLocally } = await import(entry);
console.log("{}");
await once(process.stdin, "data");
try {
  await listenLocally(createServer(), path, 16);
  console.log(JSON.stringify({ path }));
} catch (error) {
  console.log(JSON.stringify({ code: error.code }));
  process.exit();
}
