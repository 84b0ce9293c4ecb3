/** What every JavaScript runtime has by that name. */
export const webcrypto = globalThis.crypto;
