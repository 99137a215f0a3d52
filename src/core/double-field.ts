/**
 * Zero, for counts that go beyond 2^31, as counts of bytes do within seconds.
 *
 * V8 stores small integers in one way and all other numbers in another. When a field changes from one to the other, V8
 * discards the compiled code that uses the object: in the middle of a transfer, after 2 GiB. -0 is no small integer, so these
 * fields are stored as doubles from the beginning.
 */
export const doubleZero = -0;
