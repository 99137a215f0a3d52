import { serve } from "fullmesh";

const server = await serve({ listen: process.env.MESH ?? "127.0.0.1:4000" });
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => server.close());
console.log(`listening on ${server.address}`);
