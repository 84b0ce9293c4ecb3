// Holds the session of a file until others end it (exit code 3), it ends by itself (2), or SIGTERM comes (0).
//
//   node examples/hold.mjs agent-7.session

import { describe, endedByOthers, hold } from "@tenure/client/hold";

// A renewal that this cuts off is finished by the next holder of the file.
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => process.exit(0));

const [path] = process.argv.slice(2);
if (path === undefined) {
  console.error("usage: node hold.mjs SESSION_FILE");
  process.exit(1);
}

try {
  const session = hold(path, {
    onTrouble: (trouble) => console.error(trouble ?? "all is well again"),
  });
  console.log(`holding ${session.sessionId} of ${session.subjectId}`);

  const end = await session.ended;
  console.error(`the session is over: ${describe(end)}`);
  process.exit(endedByOthers(end) ? 3 : 2);
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
