/**
 * What we use of `fs-native-extensions`, which comes without types.
 */
declare module 'fs-native-extensions' {
  /** A write lock on the whole file for this open file (F_OFD_SETLK); false when somebody else has it. */
  export function tryLock(fd: number): boolean
}
