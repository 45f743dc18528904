using ImageQueue.Core.Hosting;

namespace ImageQueue.Core.Messages;

/// <summary>The whole store: eight interfaces over the same rows, of which each consumer takes the one it needs.</summary>
/// <remarks>
/// Every verb throws <see cref="StoreUnavailableException"/> when the database cannot be reached or written; nothing is then
/// half-written.
/// </remarks>
public interface IMessageStore :
    IConversationStore, IRequestStore, IQueueStore, ILeaseStore, IFeedStore, IOperatorStore, IStatisticsStore, IUploadStore;
