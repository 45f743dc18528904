using System.Reflection;
using ImageQueue.Core.Messages;
using Microsoft.Extensions.DependencyInjection;

namespace ImageQueue.Tests.Support;

#pragma warning disable CA1852 // The runtime derives from it.
/// <summary>A store whose database is away, or that has a mistake in it, for the calls that name something of that name.</summary>
internal class FaultyStore : DispatchProxy
{
    /// <summary>A conversation, user or message whose rows cannot be reached.</summary>
    public const string AwayName = "away";

    /// <summary>A message whose row cannot be reached.</summary>
    public const long AwayId = 999_503;

    /// <summary>A conversation, user or message with which something unexpected happens.</summary>
    public const string BrokenName = "broken";

    /// <summary>A message with which something unexpected happens.</summary>
    public const long BrokenId = 999_500;

    private IMessageStore _inner = null!; // Both set by PutAround.
    private Faults _faults = null!;

    /// <summary>What an away database says.</summary>
    public static Exception Away() => new StoreUnavailableException("The message database is away.", new IOException("away"));

    /// <summary>Something unexpected.</summary>
    public static Exception Broken() => new InvalidOperationException("a mistake of ours, which no caller is told");

    /// <summary>Puts it around the app's own store, and <see cref="Faults"/> among the services.</summary>
    public static void PutAround(IServiceCollection services)
    {
        services.AddSingleton<Faults>();
        var own = services.Last(service => service.ServiceType == typeof(IMessageStore)).ImplementationFactory!; // Registered with one.
        services.AddSingleton(provider =>
        {
            var proxy = Create<IMessageStore, FaultyStore>();
            var faulty = (FaultyStore)(object)proxy;
            faulty._inner = (IMessageStore)own(provider);
            faulty._faults = provider.GetRequiredService<Faults>();
            return proxy;
        });
    }

    protected override object? Invoke(MethodInfo? targetMethod, object?[]? args)
    {
        var named = args!.Where(arg => arg is not CancellationToken).Select(arg => arg switch // The runtime always gives them.
        {
            NewMessage message => message.ConversationId,
            NewImageMessage message => message.ConversationId,
            _ => arg,
        }).ToList();
        if (named.Contains(AwayName) || named.Contains(AwayId))
            throw Away();
        if (named.Contains(BrokenName) || named.Contains(BrokenId))
            throw Broken();
        if (_faults.OfNameless is { } fault && targetMethod!.Name is (nameof(IMessageStore.CountAsync) or nameof(IMessageStore.LatestRevisionAsync)))
            throw fault();
        try
        {
            return targetMethod!.Invoke(_inner, args);
        }
        catch (TargetInvocationException e)
        {
            throw e.InnerException!; // Always there.
        }
    }
    /// <summary>The faults of one app.</summary>
    public sealed class Faults
    {
        /// <summary>What the calls that name nothing throw; null: nothing.</summary>
        public Func<Exception>? OfNameless { get; set; }
    }
}
