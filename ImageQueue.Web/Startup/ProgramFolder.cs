namespace ImageQueue.Web.Startup;

/// <summary>Where the program's own files are, which it only reads: settings, styles, scripts.</summary>
internal static class ProgramFolder
{
    /// <summary>
    /// A builder that finds them wherever a published program is started from. Under <c>dotnet run</c> they are among the sources,
    /// where that starts the program; its output has no <c>wwwroot</c>.
    /// </summary>
    public static WebApplicationBuilder CreateBuilder(string[] args) => WebApplication.CreateBuilder(new WebApplicationOptions
    {
        Args = args,
        ContentRootPath = Directory.Exists(Path.Combine(AppContext.BaseDirectory, "wwwroot")) ? AppContext.BaseDirectory : null,
    });
}
