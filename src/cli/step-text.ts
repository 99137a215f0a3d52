import type { Dialect } from "../protocol/directory.js";
import type { MeshStory } from "./mesh-story.js";
import type { Step } from "./step-pacer.js";

/** A step in words. */
export interface NamedStep {
  /** Such as `2 --hello--> 4`. */
  readonly arrow: string;
  /** What happens, and why. */
  readonly sentence: string;
}

/** What happens, by whom, to whom and why. */
export function namedStep(step: Step, dialect: Dialect, story: MeshStory): NamedStep {
  const nameOf = (address: string | undefined): string => {
    if (address === undefined) return "a new process";
    if (address === "server") return "the server";
    return story.numberOf(address) === undefined ? `the process at ${address}` : story.nameOf(address);
  };
  const [from, to] = [nameOf(step.from), nameOf(step.to)];
  const sentence = dialect === "classic" ? classicText(step, from, to, story) : nativeText(step, from, to, story);
  return { arrow: `${from} --${step.kind}--> ${to}`, sentence };
}

function nativeText(
  { kind, from: caller, to: called, detail }: Step,
  from: string,
  to: string,
  story: MeshStory,
): string {
  switch (kind) {
    case "dial":
      if (to === "the server") return `${from} dials the server, the only address that it knows`;
      if (from === "the server") return `${from} dials ${to}, to see who answers there`;
      return dialText(story, caller ?? "", called, from, to);
    case "register":
      return `${from} asks the server to be let in, and says where it listens`;
    case "resume":
      return `${from} asks the server to be let in again, with the id and the place that it had`;
    case "challenge":
      return `${from} sends ${to} a number that nobody can guess: anybody can name an address, only who listens there gets this`;
    case "check":
      return `${from} asks whether it is ${to} still that answers there`;
    case "here":
      return `${from} answers where ${to} has dialed it: it is the one that listens there`;
    case "proof":
      return `${from} sends ${to} this number where it registered: so the address is its own, and it is let in`;
    case "directory":
      return `${from} sends ${to} all members in join order: ${namesIn(detail, story)}${placeText(detail, called)}`;
    case "entries":
      return `${from} tells ${to} that ${namesIn(detail, story)} has joined`;
    case "hello":
      return `${from} says hello to ${to}: who it is, and that this is attempt ${detail} of their link`;
    case "answer":
      return `${from} answers ${to} that it takes attempt ${detail}: they are linked, and both tell the server`;
    case "grant":
      return from === "the server"
        ? `${from} passes that on to ${to}, whose turn to dial it is now`
        : `${from} could not dial, so it asks ${to} to let the other end dial: that is attempt ${detail}`;
    case "failed":
      return from === "the server"
        ? `${from} passes that on to ${to}, whose turn to dial it is again`
        : `${from} could not dial either, and says so to ${to}: ${detail}`;
    default:
      return `${from} refuses ${to}: ${detail}`;
  }
}

function classicText(
  { kind, from: caller, to: called, detail }: Step,
  from: string,
  to: string,
  story: MeshStory,
): string {
  switch (kind) {
    case "dial":
      if (to === "the server") return `${from} dials the server, the only address that it knows`;
      return dialText(story, caller ?? "", called, from, to);
    case "register":
      return `${from} sends the address at which it listens, as text: that is all a registration is`;
    case "list":
      return `${from} sends ${to} the list of all in join order: ${namesIn(detail, story)}${placeText(detail, called)}`;
    case "hello":
      return `${from} says hello to ${to} with its address, so that it knows who has dialed: they are linked, without an answer`;
    default:
      return `${from} refuses ${to}: ${detail}`;
  }
}

/** The rule, as it is true of these two. */
function dialText(story: MeshStory, caller: string, called: string, from: string, to: string): string {
  return story.isBefore(caller, called)
    ? `${from} dials ${to}, because it joined first`
    : `${from} dials ${to}, though it joined later: it was asked to, because ${to} could not dial`;
}

/** What follows for a member from its place in this list. */
function placeText(addresses: string, own: string): string {
  const list = addresses.split(" ");
  const at = list.indexOf(own);
  if (list.length === 1) return "; nobody else is there";
  if (at === list.length - 1) return "; nobody is behind it, so it dials nobody";
  return at < 0 ? "" : "; it dials those behind it that it is not linked with";
}

function namesIn(addresses: string, story: MeshStory): string {
  const names = addresses.split(" ").map((address) => story.nameOf(address));
  const most = 8;
  const more = names.length > most ? ` and ${names.length - most} more` : "";
  return `${names.slice(0, most).join(", ")}${more}`;
}
