using System.Text.Json.Nodes;
using ImageQueue.Tests.Compatibility;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Api.Description;

/// <summary>Others' tools on the description: Redocly's linter, and TypeScript types that a program uses without a cast.</summary>
[TestFixture]
[Category(Categories.Process)]
internal sealed class GeneratedTypesTests
{
    private const string Program =
        """
        import type { components, paths } from "./v1";

        type Schemas = components["schemas"];
        type Page = paths["/api/conversations/{conversation_id}/messages"]["get"]["responses"]["200"]["content"]["application/json"];

        export function read(message: Schemas["Message"]): string {
          // @ts-expect-error Not every message is an image.
          const unknown: Schemas["ImageStatus"] = message.extra_metadata.status;
          if (message.kind === "text")
            return String(message.extra_metadata["thread"]) + message.deleted;
          const status: Schemas["ImageStatus"] = message.extra_metadata.status;
          const code: Schemas["ImageErrorCode"] | null | undefined = message.extra_metadata.error_code;
          return status === "complete" ? message.extra_metadata.result!.width.toFixed() : `${code} ${message.queue?.position} ${unknown}`;
        }

        export const all = (page: Page): string[] => page.messages.map(read);

        export function ended(event: Schemas["ImageProgressEvent"]): boolean {
          // @ts-expect-error There is no such status.
          return event.status === "done";
        }
        """;

    private TemporaryFolder _folder = null!; // Set before any test runs.

    private string Document => Path.Combine(_folder.Path, "v1.json");

    [OneTimeSetUp]
    public async Task ReadAsync()
    {
        _folder = new TemporaryFolder();
        await using var app = await TestApp.StartAsync();
        await File.WriteAllTextAsync(Document, await app.Http.GetStringAsync("openapi/v1.json"));
    }

    [OneTimeTearDown]
    public void Remove() => _folder.Dispose();

    [Test]
    public async Task Types_NarrowAMessageByItsKind()
    {
        await File.WriteAllTextAsync(Path.Combine(_folder.Path, "program.ts"), Program);
        await File.WriteAllTextAsync(
            Path.Combine(_folder.Path, "tsconfig.json"),
            """{"compilerOptions":{"strict":true,"noEmit":true,"target":"es2022","types":[]},"files":["program.ts"]}""");

        await NodeClients.RunToolAsync(
            "node_modules/openapi-typescript/bin/cli.js", Document, "--output", Path.Combine(_folder.Path, "v1.d.ts"));

        await NodeClients.RunToolAsync("node_modules/typescript/bin/tsc", "--project", _folder.Path);
    }

    [Test]
    public async Task Redocly_FindsNothing()
    {
        var report = await NodeClients.RunToolAsync(
            "node_modules/@redocly/cli/bin/cli.js", "lint", "--extends=recommended", "--format=json", Document);

        Assert.That(JsonNode.Parse(report)!["problems"]!.AsArray().Select(problem => (string?)problem!["message"]), Is.Empty);
    }
}
