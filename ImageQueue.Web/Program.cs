using ImageQueue.Web;
using ImageQueue.Web.Startup;

if (args is ["schema", .. var verbs])
    return await SchemaCommand.RunAsync(verbs, ProgramFolder.CreateBuilder([]).Configuration, Console.Out, Console.Error);

if (args is ["key", .. var words])
    return KeyCommand.Run(words, Console.Out, Console.Error);

if (args is ["health", .. var questions])
    return await HealthCommand.RunAsync(questions, ProgramFolder.CreateBuilder([]).Configuration, Console.Out, Console.Error);

FilePermissions.KeepNewFilesPrivate();
return await StartFailure.ExplainAsync(async () =>
{
    var builder = ProgramFolder.CreateBuilder(args);
    builder.AddImageQueue();

    var app = builder.Build();
    app.UseImageQueue();
    return await app.RunToExitCodeAsync();
});
