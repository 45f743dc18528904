using System.Net;
using System.Net.Sockets;
using System.Security.Authentication;

namespace ImageQueue.Core.Forge;

/// <summary>What an answer other than an image means: the one place where HTTP's and the transport's trouble become a <see cref="ForgeFailure"/>.</summary>
internal static class ForgeFailures
{
    /// <summary>What a GPU says that has failed and stays so until its process is restarted (PyTorch's, ROCm's and ggml's messages).</summary>
    private static readonly string[] GpuTroubles =
    [
        "CUDA error", "HIP error", "CUDA driver error", "device-side assert", "illegal memory access", "unspecified launch failure", "CUDNN_STATUS_", "CUBLAS_STATUS_",
        "cudaError", "hipError", "GPU is lost", "device lost", "No CUDA GPUs are available", "No HIP GPUs are available", "Found no NVIDIA driver",
    ];

    /// <summary>What the transport throws when an exchange breaks; <see cref="InvalidDataException"/> is a gzip body cut short.</summary>
    public static bool IsTransportTrouble(Exception exception) =>
        exception is HttpRequestException or IOException or InvalidDataException or SocketException or OperationCanceledException
            or AuthenticationException or ForgeCertificateException;

    /// <summary>No status came.</summary>
    public static ForgeException OfTransport(ForgeBackend backend, Exception exception)
    {
        var (reason, wasSent) = Describe(exception);
        return new ForgeException(ForgeFailure.Unavailable, $"{backend.Name} could not be reached: {reason}", exception) { MayGoOn = wasSent };
    }

    /// <summary>A status other than 200.</summary>
    public static ForgeException OfAnswer(ForgeBackend backend, HttpResponseMessage response, ReadOnlyMemory<byte> body, Exception? cause = null)
    {
        var isPage = ForgeMessages.IsPage(body.Span);
        var text = ForgeErrorText.Of(body);
        var failure = isPage ? ForgeFailure.Unavailable : FailureOf(response.StatusCode, text, body.Span);
        var reason = response.StatusCode switch
        {
            HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden =>
                "it refuses the user and password (Forge:Backends:n:Username and Password)",
            HttpStatusCode.NotFound when failure == ForgeFailure.Unavailable => "its API is off (start Forge with --api) or not up yet",
            _ => text ?? DescribeStatus(backend, response),
        };
        return new ForgeException(failure, reason, cause) { MayGoOn = MayGoOn(response.StatusCode) };
    }

    private static ForgeFailure FailureOf(HttpStatusCode status, string? text, ReadOnlySpan<byte> body) => (int)status switch
    {
        // FastAPI says just "Not Found" for a path that is not there (yet); forge-classic answers 404 with a reason of its
        // own for a sampler that it does not know.
        404 => NamesASetting(text) ? ForgeFailure.Rejected : ForgeFailure.Unavailable,

        // Redirects are not followed: a POST would become a GET. The address in the settings is at fault.
        >= 300 and < 400 => ForgeFailure.Unavailable,
        401 or 403 or 405 or 407 or 408 or 425 or 429 => ForgeFailure.Unavailable,
        502 or 503 or 504 or (>= 520 and < 530) => ForgeFailure.Unavailable,
        >= 400 and < 500 => ForgeFailure.Rejected,
        >= 500 => OfServerError(body),
        _ => ForgeFailure.BadImage,
    };

    /// <summary>A 500 by its words. Memory comes first: "CUDA error: out of memory" is one of an image that is too large.</summary>
    private static ForgeFailure OfServerError(ReadOnlySpan<byte> body)
    {
        if (ForgeErrorText.IsOutOfMemory(body))
            return ForgeFailure.OutOfMemory;
        return ForgeErrorText.Says(body, GpuTroubles) ? ForgeFailure.Gpu : ForgeFailure.Failed;
    }

    private static bool NamesASetting(string? text) =>
        text is not null && ((string[])["sampler", "scheduler", "model", "checkpoint"]).Any(name => text.Contains(name, StringComparison.OrdinalIgnoreCase));

    /// <summary>A proxy that lost its patience or its connection; what stands behind it may generate on.</summary>
    private static bool MayGoOn(HttpStatusCode status) => (int)status is 408 or 502 or 504 or (>= 520 and < 530);

    private static string DescribeStatus(ForgeBackend backend, HttpResponseMessage response)
    {
        var status = FormattableString.Invariant($"{backend.Name} answered {(int)response.StatusCode} {response.ReasonPhrase}").TrimEnd();
        return response.Headers.Location is { } location
            ? $"{status} to {location}; set Forge:Backends:n:Url to the final address"
            : status;
    }

    /// <summary>For operators, and whether the request may have reached the server.</summary>
    private static (string Reason, bool WasSent) Describe(Exception exception)
    {
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
                    return ("connection reset", true);
                case SocketException { SocketErrorCode: SocketError.HostNotFound or SocketError.TryAgain or SocketError.NoData }:
                    return ("its host name is not known", false);
                case SocketException or TimeoutException:
                    return (cause.Message, true);
            }
        }

        return exception is HttpRequestException { HttpRequestError: HttpRequestError.ResponseEnded }
            ? ("it closed the connection without an answer", true)
            : (exception.Message, true);
    }
}
