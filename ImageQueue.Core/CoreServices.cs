using Hangfire;
using Hangfire.Common;
using Hangfire.InMemory;
using Hangfire.SqlServer;
using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Queue.Eta;
using ImageQueue.Core.Recovery;
using ImageQueue.Core.Requests;
using ImageQueue.Core.Statistics;
using ImageQueue.Core.Storage;
using ImageQueue.Core.Storage.Sqlite;
using ImageQueue.Core.Storage.SqlServer;
using ImageQueue.Core.Telemetry;
using ImageQueue.Core.Webhooks;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;

namespace ImageQueue.Core;

/// <summary>Core's registrations.</summary>
public static class CoreServices
{
    /// <summary>Adds ImageQueue without its web part. The host adds Hangfire's own services.</summary>
    public static IServiceCollection AddImageQueueCore(this IServiceCollection services, IConfiguration configuration)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.AddCheckedOptions<StorageOptions>(configuration, StorageOptions.Section);
        services.AddCheckedOptions<MessagesOptions>(configuration, MessagesOptions.Section);
        services.AddCheckedOptions<ImagesOptions>(configuration, ImagesOptions.Section);
        services.AddCheckedOptions<ForgeOptions>(configuration, ForgeOptions.Section);
        services.AddCheckedOptions<QueueOptions>(configuration, QueueOptions.Section);
        services.AddCheckedOptions<ShutdownOptions>(configuration, ShutdownOptions.Section);

        services.AddMetrics();
        services.AddSingleton<QueueMetrics>();
        services.AddHostedSingleton<QueueGauges>();
        services.AddHostedService<SystemGauges>();
        services.AddSingleton<IHostJobFilter, JobTrace>();

        services.AddSingleton<AsyncSignal>();
        services.AddSingleton<MessageTexts>();
        services.AddSingleton<DatabaseReadiness>();
        if (StorageOptions.ProviderIn(configuration) == StorageProvider.SqlServer)
            services.AddSqlServerStorage(configuration);
        else
            services.AddSqliteStorage(configuration);

        // Each consumer takes the part of the store that it needs.
        services.AddSingleton<IConversationStore>(provider => provider.GetRequiredService<IMessageStore>());
        services.AddSingleton<IRequestStore>(provider => provider.GetRequiredService<IMessageStore>());
        services.AddSingleton<IQueueStore>(provider => provider.GetRequiredService<IMessageStore>());
        services.AddSingleton<ILeaseStore>(provider => provider.GetRequiredService<IMessageStore>());
        services.AddSingleton<IFeedStore>(provider => provider.GetRequiredService<IMessageStore>());
        services.AddSingleton<IOperatorStore>(provider => provider.GetRequiredService<IMessageStore>());
        services.AddSingleton<IStatisticsStore>(provider => provider.GetRequiredService<IMessageStore>());
        services.AddSingleton<IUploadStore>(provider => provider.GetRequiredService<IMessageStore>());

        services.AddSingleton<QueueRebuildState>();
        services.AddSingleton<IHostJobFilter, QueueOrderFilter>();
        services.AddSingleton<IJobFilterProvider, JobFilters>();
        services.AddSingleton<DashboardCommands>();
        services.AddSingleton<IHostJobFilter>(provider => provider.GetRequiredService<DashboardCommands>());
        services.AddSingleton<ImageJobs>();
        services.AddHostedSingleton<Pauses>();
        services.AddSingleton<CapacityGatedFetch>();
        services.AddSingleton<CapacityGatedStorage>();
        services.AddSingleton<EtaEstimator>();
        services.AddSingleton<QueuePositions>();

        services.AddForgeClient();
        services.TryAddSingleton<IForgeCatalogue, ForgeCatalogue>();
        services.TryAddSingleton<BackendPool>();

        // Registered before the job servers, so it releases its backends after they have stopped.
        services.AddHostedService(provider => provider.GetRequiredService<BackendPool>());
        services.AddSingleton<ImageFiles>();
        services.AddSingleton<IImageStorage>(provider => provider.GetRequiredService<ImageFiles>());
        services.AddSingleton<ImageLocator>();
        services.AddSingleton<RunningJobs>();
        services.AddSingleton<FailurePolicy>();
        services.AddSingleton(provider => new DisruptionLedger(provider.GetRequiredService<BackendPool>().CompletedCounts));
        services.AddSingleton<JobWatch>();
        services.AddSingleton<ICanary, Canary>();
        services.AddSingleton<ProgressPump>();
        services.AddSingleton<RequestWrites>();
        services.AddSingleton<IJobStateReconciler, JobStateReconciler>();
        services.AddSingleton<ImageGenerator>();
        services.AddTransient<IImageJob, GenerateImageJob>();

        services.AddSingleton<EnqueueImageRequest>();
        services.AddSingleton<RequestChoices>();
        services.AddSingleton<RequestSources>();
        services.AddSingleton<SubmitImageRequest>();
        services.AddSingleton<UploadImage>();
        services.AddSingleton<UsedUploads>();
        services.AddSingleton<CancelImageRequest>();
        services.AddSingleton<RetryImageRequest>();
        services.AddSingleton<PrioritizeImageRequest>();
        services.AddSingleton<DrainBackend>();
        services.AddSingleton<EraseMessages>();
        services.AddSingleton<BulkCommands>();
        services.AddTransient<BulkCommandJob>();
        services.AddSingleton<Cleanup>();
        services.AddSingleton<RecurringJobs>();
        services.AddSingleton<RequestRepairs>();
        services.AddSingleton<AbandonedFiles>();
        services.AddSingleton<Sweep>();
        services.AddHostedSingleton<DashboardReconciler>();

        services.AddSingleton<SystemConditions>();
        services.AddSingleton<IConditionSource, PauseConditions>();
        services.AddSingleton<IConditionSource, BackendConditions>();
        services.AddSingleton<IConditionSource, ModelConditions>();
        services.AddSingleton<IConditionSource, ImageFileConditions>();
        services.AddSingleton<IConditionSource, SweepConditions>();
        services.AddSingleton<IConditionSource, LeaderConditions>();

        services.AddHostedSingleton<ConditionWatch>();
        services.AddHostedSingleton<MissingModelsWatch>();

        services.AddSingleton<OpenTransactionReport>();
        services.AddHostedSingleton<MessageFeed>();
        services.AddWebhooks(configuration);
        services.AddHostedSingleton<OutageWatch>();
        services.AddHostedSingleton<ErasureReconciler>();
        services.AddHostedSingleton<PositionWriter>();
        services.AddHostedSingleton<StatisticsWriter>();
        return services;
    }

    private static void AddSqliteStorage(this IServiceCollection services, IConfiguration configuration)
    {
        var connectionString = configuration.GetConnectionString(
            StorageOptions.ConnectionStringName) ?? StorageOptions.DefaultConnectionString;
        services.AddSingleton(provider => new SqliteMessageStore(
            connectionString,
            provider.GetRequiredService<TimeProvider>(),
            provider.GetRequiredService<AsyncSignal>(),
            provider.GetRequiredService<IOptions<StorageOptions>>().Value.ApplySchema ?? true,
            provider.GetRequiredService<QueueMetrics>()));
        services.AddSingleton<IMessageStore>(provider => provider.GetRequiredService<SqliteMessageStore>());
        services.AddSingleton<IMessageDatabase>(provider => new SqliteProcessLock(provider.GetRequiredService<SqliteMessageStore>()));

        // Numbered ids would start at 1 in every process, and stored ids of an earlier process would name other jobs.
        services.AddSingleton<IQueueOrder>(provider => ActivatorUtilities.CreateInstance<InMemoryQueueOrder>(provider, OrderOf(provider)));
        services.AddSingleton<JobStorage>(_ => new InMemoryStorage(new InMemoryStorageOptions { IdType = InMemoryStorageIdType.Guid }));

        // Hangfire's jobs were lost with the last process.
        services.AddHostedSingleton<QueueRebuild>();
        services.AddHostedSingleton<RestoreFinishedJobs>();
    }

    private static void AddSqlServerStorage(this IServiceCollection services, IConfiguration configuration)
    {
        services.AddSingleton(provider => new SqlServerDatabase(
            configuration.GetConnectionString(StorageOptions.ConnectionStringName),
            provider.GetRequiredService<IOptions<StorageOptions>>()
                .Value.ApplySchema ?? provider.GetService<IHostEnvironment>()?.IsDevelopment() == true,
            provider.GetRequiredService<ILoggerFactory>().CreateLogger<SqlServerDatabase>()));
        services.AddSingleton<IMessageDatabase>(provider => provider.GetRequiredService<SqlServerDatabase>());
        services.AddSingleton<IMessageStore>(provider => new SqlServerMessageStore(
            provider.GetRequiredService<SqlServerDatabase>().Connections, provider.GetRequiredService<TimeProvider>(),
            provider.GetRequiredService<AsyncSignal>(), provider.GetRequiredService<QueueMetrics>()));
        services.AddSingleton<JobStorage>(provider =>
        {
            var database = provider.GetRequiredService<SqlServerDatabase>();
            return new SqlServerStorage(database.ConnectionString, database.HangfireOptions);
        });
        services.AddSingleton<IQueueRows>(provider =>
        {
            var database = provider.GetRequiredService<SqlServerDatabase>();
            return new SqlServerQueueRows(
                database.Connections, database.HangfireOptions.SlidingInvisibilityTimeout ?? TimeSpan.FromMinutes(5),
                provider.GetRequiredService<JobStorage>(), provider.GetRequiredService<ILoggerFactory>().CreateLogger<SqlServerQueueRows>())
            { WithUsers = OrderOf(provider) == QueueOrder.FairShare };
        });
        services.AddSingleton<IQueueOrder>(provider => ActivatorUtilities.CreateInstance<SqlServerQueueOrder>(provider, OrderOf(provider)));
        services.AddHostedSingleton<QueueRebuild>();
    }

    private static QueueOrder OrderOf(IServiceProvider provider) => provider.GetRequiredService<IOptions<QueueOptions>>().Value.Order;

    private static void AddCheckedOptions<T>(this IServiceCollection services, IConfiguration configuration, string section)
        where T : class =>
        // Unknown keys are mistyped; and without this the binder silently drops list entries that it cannot read.
        services.AddOptions<T>().Bind(configuration.GetSection(section), binder => binder.ErrorOnUnknownConfiguration = true)
            .ValidateDataAnnotations().ValidateOnStart();
}
