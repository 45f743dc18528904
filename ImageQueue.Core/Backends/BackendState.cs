namespace ImageQueue.Core.Backends;

/// <summary>A backend's state as operators see it.</summary>
public enum BackendState
{
    /// <summary>Not probed yet.</summary>
    Unknown,

    /// <summary>Gets requests.</summary>
    Healthy,

    /// <summary>A canary decides whether it, or the request that it broke off, is at fault.</summary>
    Suspect,

    /// <summary>Gets no request until its probe succeeds, and its canary where a request found the trouble.</summary>
    Unhealthy,

    /// <summary>Healthy, but still generating what no request needs any more.</summary>
    Draining,

    /// <summary>An operator keeps requests from it.</summary>
    Paused,
}
