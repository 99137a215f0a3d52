/**
 * The times of claims. They belong to the protocol: a holder and its server count the same lease, each on its own clock, so
 * neither may choose it. The rules are in docs/protocol/native.md, *Claims*.
 */

/** So long after the server has last heard a holder, it frees what that holder holds. */
export const claimLeaseMs = 10_000;

/**
 * By so much earlier a holder gives up by itself: clocks that run differently, and a program that takes a moment to stop
 * what it does.
 */
export const claimMarginMs = 3_000;

/** How often whoever holds or waits renews: two renewals may be lost before a holder gives up. */
export const claimRenewMs = 2_000;

/** Nobody is granted a key whom the server has not heard for so long: it could not begin to hold it. */
export const claimContactMs = 5_000;
