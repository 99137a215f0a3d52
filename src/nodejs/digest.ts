/** SHA-256 of a text, as hexadecimal digits. The module is loaded when it is needed: few processes need it. */
export function digestOf(text: string): string {
  return process.getBuiltinModule("node:crypto").createHash("sha256").update(text).digest("hex");
}
