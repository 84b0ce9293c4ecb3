import { webcrypto } from "node:crypto";

/** Node 18 has it, and no global of that name. */
export { webcrypto };
