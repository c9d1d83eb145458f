// The real Chromium with a profile of its own, for a script that returns what is to be printed as JSON.
const { chromium } = require(`${process.cwd()}/node_modules/playwright-core`);

const ARGUMENTS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server",
    // Names that are not loopback to the browser.
    "--host-resolver-rules=MAP *.test 127.0.0.1",
];

exports.launch = async (conduct) => {
    const executablePath = "/usr/bin/chromium";
    const context = await chromium.launchPersistentContext("", { executablePath, args: ARGUMENTS });
    context.setDefaultTimeout(40_000);
    try {
        console.log(JSON.stringify(await conduct(context)));
    } catch (error) {
        console.error(error);
        process.exitCode = 1;
    } finally {
        await context.close();
    }
};
