using ImageQueue.Web;

var builder = WebApplication.CreateBuilder(args);
builder.AddImageQueue();

var app = builder.Build();
app.UseImageQueue();
await app.RunAsync();
