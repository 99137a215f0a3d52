import type { Endpoint } from "../core/connections.js";
import { FullmeshError } from "../core/errors.js";
import { Deferred } from "./deferred.js";

/** Listens with a driver, as a promise. */
export async function listen(
  driver: { listen(on: Endpoint, done: (outcome: Endpoint | FullmeshError) => void): void },
  on: Endpoint,
): Promise<Endpoint> {
  const listening = new Deferred<Endpoint>();
  driver.listen(on, (outcome) => {
    if (outcome instanceof FullmeshError) listening.reject(outcome);
    else listening.resolve(outcome);
  });
  return await listening.promise;
}
