/**
 * Zero, for counts that go beyond 2^31, as those of bytes do within seconds.
 *
 * V8 keeps small integers in one way and all other numbers in another. When it has to change its mind about a field, it
 * throws away whatever compiled code touches the object: in the middle of a transfer, once 2 GiB are through. -0 is no small
 * integer, so these fields are kept in the other way from the beginning.
 */
export const doubleZero = -0;
