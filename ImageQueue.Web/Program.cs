using ImageQueue.Web;
using ImageQueue.Web.Startup;

if (args is ["schema", .. var verbs])
    return await SchemaCommand.RunAsync(verbs, WebApplication.CreateBuilder().Configuration, Console.Out, Console.Error);

if (args is ["key", .. var words])
    return KeyCommand.Run(words, Console.Out, Console.Error);

return await StartFailure.ExplainAsync(async () =>
{
    var builder = WebApplication.CreateBuilder(args);
    builder.AddImageQueue();

    var app = builder.Build();
    app.UseImageQueue();
    await app.RunAsync();
});
