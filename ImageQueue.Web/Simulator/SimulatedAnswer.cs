namespace ImageQueue.Web.Simulator;

/// <summary>How an answer reaches the client.</summary>
internal enum AnswerEnding
{
    /// <summary>Whole.</summary>
    Whole,

    /// <summary>The announced length, about half of the bytes, then a reset connection.</summary>
    CutShort,

    /// <summary>No answer: the connection is reset.</summary>
    Reset,
}

/// <summary>An HTTP answer, made before any of it is sent.</summary>
internal sealed record SimulatedAnswer(int Status, string ContentType, ReadOnlyMemory<byte> Body, AnswerEnding Ending = AnswerEnding.Whole)
    : IResult
{
    public static SimulatedAnswer Json<T>(T value, int status = StatusCodes.Status200OK) =>
        new(status, "application/json", SimulatorJson.Bytes(value));

    /// <summary>FastAPI's 422, with a list of errors or a sentence.</summary>
    public static SimulatedAnswer Invalid<T>(T detail) => Json(new { detail }, StatusCodes.Status422UnprocessableEntity);

    /// <summary>Forge's 500: the class of the exception in <c>error</c>, its text in <c>message</c>.</summary>
    public static SimulatedAnswer ServerError(string error, string message) =>
        Json(new { error, detail = "", body = "", message }, StatusCodes.Status500InternalServerError);

    /// <summary>The 500 of A1111, reForge and forge-classic, with the text in <c>errors</c>.</summary>
    public static SimulatedAnswer ServerErrorOfA1111(string error, string errors) =>
        Json(new { error, detail = "", body = "", errors }, StatusCodes.Status500InternalServerError);

    public static SimulatedAnswer Html(int status, string title) =>
        new(status, "text/html; charset=utf-8", Encoding.UTF8.GetBytes(
            $"<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center></body></html>"));

    /// <summary>FastAPI's 404 of a route that is not there.</summary>
    public static SimulatedAnswer NotFound { get; } = Json(new { detail = "Not Found" }, StatusCodes.Status404NotFound);

    /// <summary>The 401 of <c>--api-auth</c>.</summary>
    public static SimulatedAnswer Unauthorized { get; } = Json(
        new { detail = "Incorrect username or password" }, StatusCodes.Status401Unauthorized);

    /// <summary>KoboldCpp's 503 while it generates.</summary>
    public static SimulatedAnswer Busy { get; } = Json(
        new { detail = new { msg = "Server is busy; please try again later.", type = "service_unavailable" } },
        StatusCodes.Status503ServiceUnavailable);

    /// <summary>A proxy's 503.</summary>
    public static SimulatedAnswer Unavailable { get; } = Html(
        StatusCodes.Status503ServiceUnavailable, "503 Service Temporarily Unavailable");

    public static SimulatedAnswer ConnectionReset { get; } = new(0, "", default, AnswerEnding.Reset);

    public async Task ExecuteAsync(HttpContext context)
    {
        if (Ending == AnswerEnding.Reset)
        {
            context.Abort();
            return;
        }

        var response = context.Response;
        response.StatusCode = Status;
        response.ContentType = ContentType;
        response.ContentLength = Body.Length;
        if (Status == StatusCodes.Status401Unauthorized)
            response.Headers.WWWAuthenticate = "Basic";
        try
        {
            if (Ending == AnswerEnding.CutShort)
            {
                await response.Body.WriteAsync(Body[..(Body.Length * 6 / 10)], context.RequestAborted);
                await response.Body.FlushAsync(context.RequestAborted);

                // Kestrel sends what was flushed on a loop of its own, and a reset that overtakes it leaves not even a status.
                await Task.Delay(TimeSpan.FromMilliseconds(100), context.RequestAborted);
                context.Abort();
                return;
            }

            await response.Body.WriteAsync(Body, context.RequestAborted);
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // The client has gone away. Forge does not notice either.
        }
    }
}
