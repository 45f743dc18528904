using ImageQueue.Web;
using ImageQueue.Web.Startup;

return await StartFailure.ExplainAsync(async () =>
{
    var builder = WebApplication.CreateBuilder(args);
    builder.AddImageQueue();

    var app = builder.Build();
    app.UseImageQueue();
    await app.RunAsync();
});
