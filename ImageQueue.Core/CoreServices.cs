using Hangfire;
using Hangfire.Common;
using Hangfire.InMemory;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Messages.Sqlite;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Requests;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core;

/// <summary>The one list of what Core registers.</summary>
public static class CoreServices
{
    /// <summary>Adds ImageQueue without its web part. Hangfire's own services are the host's to add.</summary>
    public static IServiceCollection AddImageQueueCore(this IServiceCollection services, IConfiguration configuration)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.AddCheckedOptions<StorageOptions>(configuration, StorageOptions.Section);
        services.AddCheckedOptions<MessagesOptions>(configuration, MessagesOptions.Section);
        services.AddCheckedOptions<ImagesOptions>(configuration, ImagesOptions.Section);
        services.AddCheckedOptions<ForgeOptions>(configuration, ForgeOptions.Section);
        services.AddCheckedOptions<QueueOptions>(configuration, QueueOptions.Section);
        services.AddCheckedOptions<ShutdownOptions>(configuration, ShutdownOptions.Section);

        services.AddSingleton<MessageSignal>();
        services.AddSingleton<MessageTexts>();
        services.AddSqliteStorage(configuration);

        services.AddSingleton<HeldJobs>();
        services.AddSingleton<IJobFilterProvider, JobFilters>();
        services.AddSingleton<OperatorWishes>();
        services.AddSingleton<IHostJobFilter>(provider => provider.GetRequiredService<OperatorWishes>());
        services.AddSingleton<ImageJobs>();
        services.AddSingleton<IQueueOrder, PagingQueueOrder>();
        services.AddSingleton<QueuePositions>();

        services.AddForgeClient();
        services.AddSingleton<ImageFiles>();
        services.AddSingleton<RunningJobs>();
        services.AddSingleton<FailurePolicy>();
        services.AddSingleton<ProgressPump>();
        services.AddTransient<GenerateImageJob>();

        services.AddSingleton<EnqueueImageRequest>();
        services.AddSingleton<SubmitImageRequest>();
        services.AddSingleton<CancelImageRequest>();
        services.AddSingleton<RetryImageRequest>();
        services.AddSingleton<Sweep>();
        services.AddSingleton<FollowOperators>();

        services.AddSingleton<MessageFeed>();
        services.AddHostedService(provider => provider.GetRequiredService<MessageFeed>());
        services.AddSingleton<QueueRebuild>();
        services.AddHostedService(provider => provider.GetRequiredService<QueueRebuild>());
        services.AddHostedService(provider => provider.GetRequiredService<FollowOperators>());
        services.AddHostedService<PositionWriter>();
        return services;
    }

    private static void AddSqliteStorage(this IServiceCollection services, IConfiguration configuration)
    {
        var connectionString = configuration.GetConnectionString(StorageOptions.ConnectionStringName) ?? StorageOptions.DefaultConnectionString;
        services.AddSingleton(provider => new SqliteMessageStore(
            connectionString,
            provider.GetRequiredService<TimeProvider>(),
            provider.GetRequiredService<MessageSignal>(),
            provider.GetRequiredService<IOptions<StorageOptions>>().Value.ApplySchema ?? true));
        services.AddSingleton<IMessageStore>(provider => provider.GetRequiredService<SqliteMessageStore>());
        services.AddSingleton<IMessageDatabase>(provider => provider.GetRequiredService<SqliteMessageStore>());

        services.AddHostedService<SqliteProcessLock>();

        // Numbered ids would start at 1 in every process, and ids stored by an earlier one would mean other jobs.
        services.AddSingleton<JobStorage>(_ => new InMemoryStorage(new InMemoryStorageOptions { IdType = InMemoryStorageIdType.Guid }));
    }

    private static void AddCheckedOptions<T>(this IServiceCollection services, IConfiguration configuration, string section)
        where T : class =>
        services.AddOptions<T>().Bind(configuration.GetSection(section)).ValidateDataAnnotations().ValidateOnStart();
}
