// What an image's own init does for its program: SIGTERM ends it.
process.on("SIGTERM", () => process.exit(143));
