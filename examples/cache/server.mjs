import { serve } from "fullmesh";

const server = await serve({ listen: process.env.MESH ?? "127.0.0.1:4000" });
process.once("SIGTERM", () => server.close());
console.log(`listening on ${server.address}`);
