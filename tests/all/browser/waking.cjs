// mike opens his editor while Node-RED sleeps: he is shown how it wakes, and then the editor, in the same window.
const { get } = require("node:http");
const { launch, faults } = require(process.argv[1]);
const [, , port, password] = process.argv;

launch(async (context) => {
    const page = await context.newPage();
    const editor = `http://mike.flows.localhost:${port}/red/`;
    const statuses = [];
    page.on("response", (answer) => {
        if (answer.url().split("?")[0] === editor) statuses.push(answer.status());
    });
    await page.goto(editor);
    await page.getByLabel("Username").fill("mike");
    await page.getByLabel("Password").fill(password);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Your runtime wakes up" }).waitFor();
    // The window asks again every second; what it is shown is looked at where it stays.
    const cookies = await context.cookies(editor);
    const headers = {
        Host: `mike.flows.localhost:${port}`,
        Accept: "text/html",
        Cookie: cookies.map(({ name, value }) => `${name}=${value}`).join("; "),
    };
    const shown = await new Promise((done, fail) => {
        get({ host: "127.0.0.1", port, path: "/red/", headers, agent: false }, async (answer) => {
            let html = "";
            for await (const chunk of answer) html += chunk;
            done(html);
        }).on("error", fail);
    });
    const still = await context.newPage();
    await still.setContent(shown);
    const text = await still.locator("main").innerText();
    const serious = await faults(still);
    await page.locator("#red-ui-palette .red-ui-palette-node[data-palette-type=comment]").waitFor();
    return { text, serious, statuses, url: page.url() };
});
