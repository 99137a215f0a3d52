import { harmless } from "../core/escaping.js";
import { durationText, type MeshStatus } from "../protocol/status.js";
import type { StatusChange } from "../protocol/status-changes.js";
import { Drawing, type Target } from "./drawing.js";
import { Feed, type FeedMessage } from "./feed.js";
import { PairFeed } from "./pair-feed.js";
import { type Step, Timeline } from "./timeline.js";
import { changeText, endText, listedIn, pairText, shown, shownAt, subjectsOf } from "./words.js";

/** The page: a mesh that is followed, and what has happened to it, step by step. */

/** Rows of a list that are shown; the rest is counted. */
const mostRows = 12;
/** Steps of the story that are shown. */
const mostStory = 60;
/** The time between two steps while it plays. */
const stepMs = 250;

function part<Kind extends HTMLElement>(id: string, kind: new () => Kind): Kind {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no #${id}`);
  return found;
}

const parts = {
  mesh: part("mesh", HTMLSelectElement),
  state: part("state", HTMLElement),
  counts: part("counts", HTMLElement),
  connection: part("connection", HTMLElement),
  canvas: part("canvas", HTMLCanvasElement),
  back: part("back", HTMLButtonElement),
  play: part("play", HTMLButtonElement),
  forward: part("forward", HTMLButtonElement),
  position: part("position", HTMLInputElement),
  moment: part("moment", HTMLOutputElement),
  live: part("live", HTMLButtonElement),
  selectedTitle: part("selected-title", HTMLElement),
  selected: part("selected", HTMLElement),
  missing: part("missing", HTMLElement),
  members: part("members", HTMLElement),
  claims: part("claims", HTMLElement),
  story: part("story", HTMLElement),
  server: part("server", HTMLElement),
  announcement: part("announcement", HTMLElement),
};

const drawing = new Drawing(parts.canvas);
let feed: Feed | undefined;
let timeline: Timeline | undefined;
let selected: Target | undefined;
let pointed: Target | undefined;
/** What the server knows of the pair that is pointed at, or selected. */
const pairFeed = new PairFeed(() => {
  if (timeline !== undefined) renderSelected(timeline.status);
});
let player: ReturnType<typeof setInterval> | undefined;
/** Those that the buttons stand for. */
let shownMembers: MeshStatus["members"] | undefined;
/** What is shown is older than what is known. */
let isStale = false;

function follow(mesh: string): void {
  feed?.close();
  timeline = undefined;
  select(undefined);
  feed = new Feed(mesh, received);
}

function received(message: FeedMessage): void {
  if (message.type === "connection") {
    parts.connection.textContent = message.isUp
      ? ""
      : "The server does not answer; trying again. This is what it said last.";
  } else if (message.type === "snapshot") {
    if (timeline === undefined) timeline = new Timeline(message.status);
    else for (const step of timeline.catchUp(message.status, Date.now())) happened(step);
    refresh();
  } else if (timeline !== undefined) {
    const step = { at: message.at, change: message.change };
    const before = timeline.newest;
    timeline.add(step);
    happened(step, before);
    refresh();
  }
}

/** Lets a step light up, and says what matters to those who do not see it. */
function happened({ change }: Step, before?: MeshStatus): void {
  if (timeline?.isLive !== true) return;
  light(change);
  const isNews = change.type === "departed" || change.type === "joined" || change.type === "state";
  const text = isNews && before !== undefined ? changeText(before, change) : undefined;
  if (text !== undefined) parts.announcement.textContent = text;
}

function light(change: StatusChange): void {
  if (change.type === "linked") drawing.flash({ type: "pair", a: change.a, b: change.b }, "up");
  else if (change.type === "missing") drawing.flash({ type: "pair", a: change.pair.a, b: change.pair.b }, "missing");
  else if (change.type === "joined") drawing.flash({ type: "member", address: change.member.address }, "up");
  else if (change.type === "suspect") drawing.flash({ type: "member", address: change.member.address }, "suspect");
}

/** Everything is shown anew, once for all that has come by the next frame. */
function refresh(): void {
  if (isStale) return;
  isStale = true;
  requestAnimationFrame(() => {
    isStale = false;
    if (timeline !== undefined) render(timeline.status);
  });
}

function render(status: MeshStatus): void {
  drawing.show(status);
  renderHead(status);
  renderTimeline();
  renderMissing(status);
  renderMembers(status);
  renderClaims(status);
  renderSelected(status);
  renderStory();
  renderAges();
}

/** The moment that is shown, which is now while it is live. */
function shownTime(): number {
  if (timeline === undefined || timeline.isLive) return Date.now();
  return timeline.steps[timeline.position - 1]?.at ?? timeline.steps[0]?.at ?? Date.now();
}

function renderHead(status: MeshStatus): void {
  const state = status.complete ? "complete" : status.gathering ? "gathering" : "incomplete";
  parts.state.className = `state ${state}`;
  parts.state.textContent = state === "incomplete" ? "not complete" : state;
  const listed = listedIn(status).length;
  const { expected, up } = status.links;
  parts.counts.textContent = `${listed} ${listed === 1 ? "member" : "members"}, ${up} of ${expected} links`;
}

function renderTimeline(): void {
  if (timeline === undefined) return;
  const { steps, position, isLive } = timeline;
  parts.position.max = String(steps.length);
  parts.position.value = String(position);
  parts.live.setAttribute("aria-pressed", String(isLive));
  parts.play.textContent = player === undefined ? "Play" : "Pause";
  parts.back.disabled = position === 0;
  parts.forward.disabled = position === steps.length;
  const at = new Date(shownTime()).toLocaleTimeString();
  parts.moment.value = `step ${position} of ${steps.length}, ${at}`;
  parts.position.setAttribute("aria-valuetext", parts.moment.value);
}

function renderMissing(status: MeshStatus): void {
  part("missing-section", HTMLElement).hidden = status.missing.length === 0;
  const rows = status.missing.slice(0, mostRows).map((pair) => {
    const row = item(pairText(status, pair), "bad");
    row.append(" ", age(pair.since));
    return row;
  });
  const rest = status.links.expected - status.links.up - rows.length;
  fill(parts.missing, rest > 0 ? [...rows, item(`and ${rest} more`)] : rows);
}

/** Made anew only when a member has changed: most changes are of links. */
function renderMembers(status: MeshStatus): void {
  if (shownMembers === status.members) return;
  shownMembers = status.members;
  const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.address : undefined;
  const rows = status.members.map((member) => {
    const row = document.createElement("li");
    row.className = member.state;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = shown(member);
    button.title = `${member.address}, ${member.state}`;
    button.dataset.address = member.address;
    if (member.state !== "member") button.setAttribute("aria-label", `${shown(member)}, ${member.state}`);
    row.append(button);
    return row;
  });
  fill(parts.members, rows);
  markSelected();
  for (const button of parts.members.querySelectorAll("button")) {
    if (focused !== undefined && button.dataset.address === focused) button.focus();
  }
}

function markSelected(): void {
  for (const button of parts.members.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(isSelected(button.dataset.address)));
  }
}

function renderClaims(status: MeshStatus): void {
  part("claims-section", HTMLElement).hidden = status.claims.length === 0;
  const rows = status.claims.slice(0, mostRows).map(({ key, holder, token, since, waiting }) => {
    const line = waiting === 0 ? "" : `, ${waiting} in line`;
    const row = item(`${harmless(key)}: ${shownAt(status, holder)}, token ${token}${line}`);
    row.append(" ", age(since));
    return row;
  });
  fill(parts.claims, rows);
}

function renderSelected(status: MeshStatus): void {
  const target = pointed ?? selected;
  // What is past has no figures.
  pairFeed.follow(target?.type === "pair" && timeline?.isLive === true ? target : undefined, status.mesh);
  const [title, ...lines] = target === undefined ? ["Point at a member or a pair"] : describe(status, target);
  parts.selectedTitle.textContent = title ?? "";
  fill(parts.selected, lines.map(paragraph));
}

/** What there is to say of a member or a pair: a title, then lines. */
function describe(status: MeshStatus, target: Target): readonly string[] {
  if (target.type === "pair") return describePair(status, target.a, target.b);
  const member = status.members.find(({ address }) => address === target.address);
  if (member === undefined) {
    const gone = status.recent.findLast(({ address }) => address === target.address);
    return [
      gone === undefined ? target.address : shown(gone),
      gone === undefined ? "is not there" : harmless(gone.reason),
    ];
  }
  const missing = status.missing.filter(({ a, b }) => a === member.address || b === member.address);
  const place = member.rank === null ? member.state : `member ${member.rank + 1} of ${listedIn(status).length}`;
  const why = member.reason === undefined ? [] : [`${member.state}: ${harmless(member.reason)}`];
  const links =
    member.rank === null
      ? []
      : [
          missing.length === 0
            ? "linked with all others"
            : `${missing.length} ${missing.length === 1 ? "link is" : "links are"} missing`,
        ];
  return [
    shown(member),
    `${harmless(member.address)}, ${place}, for ${durationText(shownTime() - member.since)}`,
    ...why,
    ...links,
  ];
}

function describePair(status: MeshStatus, a: string, b: string): readonly string[] {
  const pair = status.missing.find((missing) => missing.a === a && missing.b === b);
  const title = `${shownAt(status, a)} and ${shownAt(status, b)}`;
  const ends = pairFeed.pair === undefined ? [] : pairFeed.pair.ends.map((end) => endText(end, shownTime()));
  if (pair === undefined) return [title, `linked; ${shownAt(status, a)} joined first, so it dials`, ...ends];
  return [title, pairText(status, pair), `for ${durationText(shownTime() - pair.since)}`, ...ends];
}

/** What has happened, the newest first; of the selected member only, if one is selected. */
function renderStory(): void {
  if (timeline === undefined) return;
  const { steps, position } = timeline;
  const subjects =
    selected === undefined ? [] : selected.type === "member" ? [selected.address] : [selected.a, selected.b];
  const rows: HTMLElement[] = [];
  const status = timeline.newest;
  for (let index = position - 1; index >= 0 && rows.length < mostStory; index -= 1) {
    const step = steps[index];
    if (step === undefined || !isAbout(step.change, subjects)) continue;
    const text = changeText(status, step.change);
    if (text !== undefined) rows.push(storyRow(step.at, text));
  }
  fill(parts.story, rows.length === 0 ? [item("nothing since this page was opened")] : rows);
}

function isAbout(change: StatusChange, subjects: readonly string[]): boolean {
  const about = subjectsOf(change);
  return subjects.every((subject) => about.includes(subject));
}

function storyRow(at: number, text: string): HTMLElement {
  const row = document.createElement("li");
  const time = document.createElement("time");
  const date = new Date(at);
  time.dateTime = date.toISOString();
  time.textContent = date.toLocaleTimeString();
  row.append(time, ` ${text}`);
  return row;
}

/** What grows by itself. */
function renderAges(): void {
  const now = shownTime();
  for (const element of document.querySelectorAll<HTMLElement>(".age")) {
    write(element, `for ${durationText(now - Number(element.dataset.since))}`);
  }
  const server = timeline?.status.server;
  if (server === undefined) return;
  const refused = Object.entries(server.refusals).map(([code, count]) => `${code} ${count}`);
  const refusals = refused.length === 0 ? "nobody refused" : `refused: ${refused.join(", ")}`;
  const up = `up for ${durationText(now - server.startedAt)}, ${server.connections} connections`;
  write(parts.server, `fullmesh ${harmless(server.version)}, ${up}, ${refusals}`);
}

/** Nothing is laid out anew for a text that stays. */
function write(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Takes the place of all that was in there. */
function fill(element: HTMLElement, children: readonly Node[]): void {
  const all = document.createDocumentFragment();
  for (const child of children) all.append(child);
  element.replaceChildren(all);
}

function item(text: string, className = ""): HTMLElement {
  const row = document.createElement("li");
  row.className = className;
  row.textContent = text;
  return row;
}

function paragraph(text: string): HTMLElement {
  const element = document.createElement("p");
  element.textContent = text;
  return element;
}

function age(since: number): HTMLElement {
  const element = document.createElement("span");
  element.className = "age";
  element.dataset.since = String(since);
  return element;
}

function isSelected(address: string | undefined): boolean {
  return selected?.type === "member" && selected.address === address;
}

function select(target: Target | undefined): void {
  selected = target;
  drawing.selected = target;
  markSelected();
  refresh();
}

/** Goes so many steps on from the moment that is shown. */
function step(by: number): void {
  if (timeline === undefined) return;
  timeline.goTo(timeline.position + by);
  const shownStep = timeline.steps[timeline.position - 1];
  if (by > 0 && shownStep !== undefined) light(shownStep.change);
  refresh();
}

function pause(): void {
  clearInterval(player);
  player = undefined;
  refresh();
}

function play(): void {
  if (timeline === undefined) return;
  if (timeline.position === timeline.steps.length) timeline.goTo(0);
  player = setInterval(() => {
    step(1);
    if (timeline === undefined || timeline.position === timeline.steps.length) pause();
  }, stepMs);
  refresh();
}

/** The next member in join order, or the one before. */
function selectNeighbour(by: number): void {
  const members = timeline === undefined ? [] : listedIn(timeline.status);
  if (members.length === 0) return;
  const at = members.findIndex(({ address }) => isSelected(address));
  const next = at < 0 ? (by > 0 ? 0 : members.length - 1) : (at + by + members.length) % members.length;
  const member = members[next];
  if (member === undefined) return;
  select({ type: "member", address: member.address });
  parts.announcement.textContent = shown(member);
}

function pointerAt({ clientX, clientY }: MouseEvent): Target | undefined {
  const { left, top } = parts.canvas.getBoundingClientRect();
  return drawing.at(clientX - left, clientY - top);
}

parts.canvas.addEventListener("pointermove", (event) => {
  pointed = pointerAt(event);
  drawing.pointed = pointed;
  if (timeline !== undefined) renderSelected(timeline.status);
});
parts.canvas.addEventListener("pointerleave", () => {
  pointed = undefined;
  drawing.pointed = undefined;
  if (timeline !== undefined) renderSelected(timeline.status);
});
parts.canvas.addEventListener("click", (event) => select(pointerAt(event)));
parts.canvas.addEventListener("keydown", (event) => {
  const moves: Readonly<Record<string, number>> = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  const by = moves[event.key];
  if (by !== undefined) selectNeighbour(by);
  else if (event.key === "Escape") select(undefined);
  else return;
  event.preventDefault();
});
parts.members.addEventListener("click", ({ target }) => {
  const address = target instanceof HTMLElement ? target.dataset.address : undefined;
  if (address !== undefined) select(isSelected(address) ? undefined : { type: "member", address });
});
parts.back.addEventListener("click", () => {
  pause();
  step(-1);
});
parts.forward.addEventListener("click", () => {
  pause();
  step(1);
});
parts.play.addEventListener("click", () => (player === undefined ? play() : pause()));
parts.live.addEventListener("click", () => {
  pause();
  timeline?.goLive();
  refresh();
});
parts.position.addEventListener("input", () => {
  pause();
  timeline?.goTo(Number(parts.position.value));
  refresh();
});
parts.mesh.addEventListener("change", () => {
  location.hash = encodeURIComponent(parts.mesh.value);
  follow(parts.mesh.value);
});
setInterval(renderAges, 1_000);

/** The meshes that there are, with the one of the address selected. */
async function chooseMesh(): Promise<void> {
  const names = (await (await fetch("meshes.json")).json()) as readonly string[];
  const wanted = decodeURIComponent(location.hash.slice(1)) || "default";
  const options = names.map((name) => {
    const option = document.createElement("option");
    option.value = name;
    option.textContent = harmless(name);
    option.selected = name === wanted;
    return option;
  });
  fill(parts.mesh, options);
  follow(names.includes(wanted) ? wanted : "default");
}

void chooseMesh();
