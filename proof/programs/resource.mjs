// What a claim protects: a resource in a process of its own, which each holder uses with its token. Writes its address, and
// then a line for each token that is used for the first time, each use with an old token, and each fault.
import { createServer } from "node:net";
import { createInterface } from "node:readline";

const say = (type, fields = {}) => console.log(JSON.stringify({ type, ...fields }));

/** The newest token: by whom it is used, since when and when last, by the clock of the user. */
let newest = { token: 0, by: 0, from: 0, last: 0 };

/** `by` uses the resource with this token, and has made sure at the time `at` that its claim holds. */
function use({ by, token, at }) {
  if (token > newest.token) {
    if (at < newest.last)
      say("fault", { message: "a use from before the last one of the token before", by, token, at, newest });
    say("began", { by, token, at, idleMs: newest.token === 0 ? 0 : at - newest.last, before: newest });
    newest = { token, by, from: at, last: at };
  } else if (token < newest.token) {
    // It is refused, so nothing is harmed; but by that time somebody else held the key.
    say("late", { by, token, at, overlapMs: at - newest.from });
  } else if (by !== newest.by) say("fault", { message: "two use one token", by, token, at, newest });
  else newest.last = at;
}

const server = createServer((socket) => {
  socket.on("error", () => {});
  createInterface({ input: socket }).on("line", (line) => use(JSON.parse(line)));
});
server.listen(0, "127.0.0.1", () => say("listening", { port: server.address().port }));
createInterface({ input: process.stdin }).on("line", () => say("now", { newest, at: Date.now() }));
