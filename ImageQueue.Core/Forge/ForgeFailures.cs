using System.Net.Sockets;
using System.Security.Authentication;

namespace ImageQueue.Core.Forge;

/// <summary>Maps HTTP answers and transport errors to a <see cref="ForgeFailure"/>.</summary>
internal static class ForgeFailures
{
    /// <summary>
    /// Words of a backend that fails after it has taken a request: PyTorch, ROCm and ggml name a GPU error; <c>sd_checkpoint_info</c>
    /// is missing at Forge after a failed model load (<c>modules/processing.py</c>), for each later request too.
    /// </summary>
    private static readonly string[] DisruptionWords =
    [
        "CUDA error", "HIP error", "CUDA driver error", "device-side assert", "illegal memory access", "unspecified launch failure",
        "CUDNN_STATUS_", "CUBLAS_STATUS_", "cudaError", "hipError", "GPU is lost", "device lost", "ErrorDeviceLost",
        "No CUDA GPUs are available", "No HIP GPUs are available", "Found no NVIDIA driver",
        "sd_checkpoint_info",
    ];

    /// <summary>Words of a backend that has no model to generate with (Forge's <c>modules/sd_models.py</c>).</summary>
    private static readonly string[] NoModelWords = ["You do not have any model!", "No checkpoints found"];

    /// <summary>
    /// A busy or restarting backend answers 503 at once. One that comes later is a proxy's time-out (Varnish, Heroku): the request
    /// had been taken.
    /// </summary>
    private static readonly TimeSpan LongestRefusal = TimeSpan.FromSeconds(10);

    /// <summary>What the transport throws when an exchange breaks; <see cref="InvalidDataException"/> is a gzip body cut short.</summary>
    public static bool IsTransportTrouble(Exception exception) =>
        exception is HttpRequestException or IOException or InvalidDataException or SocketException or OperationCanceledException
            or AuthenticationException or ForgeCertificateException;

    /// <summary>No status came.</summary>
    /// <param name="isGeneration">Whether an image was requested: a small call that breaks off disrupts no request.</param>
    public static ForgeException OfTransport(ForgeBackend backend, Exception exception, bool isGeneration)
    {
        var (reason, wasSent) = Describe(exception);
        return wasSent && isGeneration
            ? new ForgeException(ForgeFailure.Disrupted, $"{backend.Name} broke off: {reason}", exception) { MayStillBeRunning = true }
            : new ForgeException(ForgeFailure.Unavailable, $"{backend.Name} could not be reached: {reason}", exception)
            { MayStillBeRunning = wasSent };
    }

    /// <summary>A status other than 200.</summary>
    /// <param name="elapsed">Since an image was requested; null for a small call, which disrupts no request.</param>
    public static ForgeException OfAnswer(
        ForgeBackend backend, HttpResponseMessage response, ReadOnlyMemory<byte> body, TimeSpan? elapsed, Exception? cause = null)
    {
        var status = (int)response.StatusCode;
        var isPage = ForgeAnswers.IsPage(body.Span);
        var text = ForgeErrorText.Of(body);
        var failure = FailureOf(status, isPage, text, body.Span, elapsed);
        var reason = (status, isPage) switch
        {
            (408 or 504 or 524, _) => DescribeGatewayTimeout(response, body.Span, elapsed),
            ( >= 400 and < 500 and not 404 and not 429, true) =>
                $"{ForgeProxy.Of(response, body.Span).Name} refuses the request: {text}{HintOf(status)}",
            (401, _) => "it refuses the user and password (Forge:Backends:n:Username and Password)",
            (404, _) when failure == ForgeFailure.Unavailable => "its API is off (start Forge with --api) or not up yet",
            _ => (text ?? DescribeStatus(backend, response)) + HintOf(status),
        };
        var isSmallCall = elapsed is null && failure is ForgeFailure.Disrupted or ForgeFailure.GatewayTimeout;
        return new ForgeException(isSmallCall ? ForgeFailure.Unavailable : failure, reason, cause)
        { MayStillBeRunning = status is 408 or 502 or 504 or (>= 520 and <= 530) || (status == 503 && failure == ForgeFailure.Disrupted) };
    }

    private static ForgeFailure FailureOf(int status, bool isPage, string? text, ReadOnlySpan<byte> body, TimeSpan? elapsed) =>
        status switch
        {
            // Redirects are not followed: a POST would become a GET. The address in the settings is wrong.
            >= 300 and < 400 or 425 or 429 => ForgeFailure.Unavailable,
            503 => elapsed > LongestRefusal ? ForgeFailure.Disrupted : ForgeFailure.Unavailable,
            408 or 504 or 524 => ForgeFailure.GatewayTimeout,
            403 or 413 or 502 or (>= 520 and <= 530) => ForgeFailure.Disrupted,

            // FastAPI says just "Not Found" for a path that is not there (yet); forge-classic answers 404 with a reason of its
            // own for a sampler that it does not know.
            404 => !isPage && NamesASetting(text) ? ForgeFailure.Rejected : ForgeFailure.Unavailable,
            _ when isPage => ForgeFailure.Disrupted,
            401 or 405 or 407 => ForgeFailure.Unavailable,
            >= 400 and < 500 => ForgeFailure.Rejected,
            >= 500 => OfServerError(body),
            _ => ForgeFailure.BadImage,
        };

    /// <summary>A 500 by its words. Memory comes first: "CUDA error: out of memory" says that this image is too large.</summary>
    private static ForgeFailure OfServerError(ReadOnlySpan<byte> body) =>
        ForgeErrorText.IsOutOfMemory(body) ? ForgeFailure.OutOfMemory
        : ForgeErrorText.Says(body, NoModelWords) ? ForgeFailure.Unavailable
        : ForgeErrorText.Says(body, DisruptionWords) ? ForgeFailure.Disrupted
        : ForgeFailure.Failed;

    private static bool NamesASetting(string? text) =>
        text is not null
            && ((string[])["sampler", "scheduler", "model", "checkpoint"]).Any(
                name => text.Contains(name, StringComparison.OrdinalIgnoreCase));

    private static string HintOf(int status) => status == 413 ? "; raise its limit for request bodies (nginx: client_max_body_size)" : "";

    private static string DescribeGatewayTimeout(HttpResponseMessage response, ReadOnlySpan<byte> body, TimeSpan? elapsed)
    {
        var proxy = ForgeProxy.Of(response, body);
        var after = elapsed is { } time ? FormattableString.Invariant($" after {time.TotalSeconds:0.#} s") : "";
        return $"{proxy.Name} gave up{after} ({DescribeStatus(response)}); {proxy.Setting}";
    }

    private static string DescribeStatus(HttpResponseMessage response) =>
        FormattableString.Invariant($"{(int)response.StatusCode} {response.ReasonPhrase}").TrimEnd();

    private static string DescribeStatus(ForgeBackend backend, HttpResponseMessage response)
    {
        var status = $"{backend.Name} answered {DescribeStatus(response)}";
        return response.Headers.Location is { } location
            ? $"{status} to {location}; set Forge:Backends:n:Url to the final address"
            : status;
    }

    /// <summary>For operators, and whether the request may have reached the backend.</summary>
    private static (string Reason, bool WasSent) Describe(Exception exception)
    {
        var wasSent = exception is not HttpRequestException
        {
            HttpRequestError: HttpRequestError.NameResolutionError or HttpRequestError.ConnectionError
                or HttpRequestError.SecureConnectionError or HttpRequestError.ProxyTunnelError,
        };
        for (var cause = exception; cause is not null; cause = cause.InnerException)
        {
            switch (cause)
            {
                case ForgeCertificateException or InvalidDataException { InnerException: not null }:
                    return ($"TLS: {cause.Message}", false);
                case AuthenticationException { InnerException: null }:
                    return ($"TLS: {cause.Message} Does it speak https at this port?", false);
                case SocketException { SocketErrorCode: SocketError.ConnectionRefused }:
                    return ("connection refused", false);
                case SocketException { SocketErrorCode: SocketError.ConnectionReset }:
                    return ("connection reset", wasSent);
                case SocketException { SocketErrorCode: SocketError.HostNotFound or SocketError.TryAgain or SocketError.NoData }:
                    return ("its host name is not known", false);
                case TimeoutException: // Only connecting has a time-out of its own (ForgeConnections).
                    return (cause.Message, false);
                case SocketException:
                    return (cause.Message, wasSent);
            }
        }

        return exception is HttpRequestException { HttpRequestError: HttpRequestError.ResponseEnded }
            ? ("it closed the connection without an answer", true)
            : (exception.Message, wasSent);
    }
}
