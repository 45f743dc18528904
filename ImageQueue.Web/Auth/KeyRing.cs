using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Xml.Linq;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Storage;
using ImageQueue.Core.Storage.SqlServer;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.DataProtection.KeyManagement;
using Microsoft.AspNetCore.DataProtection.Repositories;
using Microsoft.Data.Sqlite;

namespace ImageQueue.Web.Auth;

/// <summary>
/// Stores the data-protection keys of tokens, cookies and forms where all machines of a shared queue read them, so that each accepts
/// what another has issued.
/// </summary>
internal static class KeyRing
{
    /// <summary>Warns at each new key that it is not encrypted; SECURITY.md says how it can be.</summary>
    private const string KeyManagerCategory = "Microsoft.AspNetCore.DataProtection.KeyManagement.XmlKeyManager";

    public static void AddKeyRing(this IServiceCollection services, IConfiguration configuration)
    {
        var protection = services.AddDataProtection().SetApplicationName("ImageQueue");
        services.AddLogging(logging => logging.AddFilter(KeyManagerCategory, LogLevel.Error));
        if (StorageOptions.ProviderIn(configuration) == StorageProvider.SqlServer)
        {
            services.AddSingleton<SqlServerKeyRing>();
            services.AddOptions<KeyManagementOptions>().Configure<SqlServerKeyRing, DatabaseReadiness>(
                (options, keys, readiness) => options.XmlRepository = new InDatabase(keys, readiness));
        }
        else
        {
            var folder = Folder(configuration);
            services.AddOptions<KeyManagementOptions>().Configure<ILoggerFactory>(
                (options, loggers) => options.XmlRepository = new InFolder(folder, loggers));
        }

        if (Certificate(configuration) is { } certificate)
            protection.ProtectKeysWithCertificate(certificate);
    }

    private static string Folder(IConfiguration configuration)
    {
        var file = new SqliteConnectionStringBuilder(
            configuration.GetConnectionString(StorageOptions.ConnectionStringName) ?? StorageOptions.DefaultConnectionString).DataSource;
        return Path.Combine(Path.GetDirectoryName(Path.GetFullPath(file)) ?? ".", "keys");
    }

    private static X509Certificate2? Certificate(IConfiguration configuration)
    {
        var options = configuration.GetSection($"{AuthOptions.Section}:{nameof(AuthOptions.Certificate)}").Get<CertificateOptions>();
        if (string.IsNullOrEmpty(options?.Path))
            return null;
        try
        {
            return X509CertificateLoader.LoadPkcs12FromFile(options.Path, options.Password);
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException)
        {
            throw new OptionsValidationException(
                AuthOptions.Section, typeof(AuthOptions), [
                    $"Auth:Certificate:Path names {options.Path}, which cannot be opened: {e.Message} Write the path of a .pfx file, "
                        + "and its password into Auth:Certificate:Password."]);
        }
    }

    /// <summary>
    /// A folder with mode 0700. Created at the first use, when the database file beside it exists: a wrong path is reported by the
    /// database.
    /// </summary>
    private sealed class InFolder(string folder, ILoggerFactory loggers) : IXmlRepository
    {
        private readonly Lazy<FileSystemXmlRepository> _files = new(
            () => new FileSystemXmlRepository(Create(folder), loggers), LazyThreadSafetyMode.PublicationOnly); // A failure is not cached.

        public IReadOnlyCollection<XElement> GetAllElements() => _files.Value.GetAllElements();

        public void StoreElement(XElement element, string friendlyName) => _files.Value.StoreElement(element, friendlyName);

        private static DirectoryInfo Create(string folder) => OperatingSystem.IsWindows()
            ? Directory.CreateDirectory(folder)
            : Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    /// <summary>Data protection asks in this form, and seldom: at the start, and once a day.</summary>
    private sealed class InDatabase(SqlServerKeyRing keys, DatabaseReadiness readiness) : IXmlRepository
    {
        /// <exception cref="StoreUnavailableException">It is unavailable. Before it has answered once, waiting for it would block the
        /// start.</exception>
        public IReadOnlyCollection<XElement> GetAllElements() => !readiness.Ready.IsCompleted
            ? throw new StoreUnavailableException(
                "The message database has not answered since the start.", new InvalidOperationException("Its keys are not known."))
            : [.. keys.ReadAllAsync(CancellationToken.None).GetAwaiter().GetResult().Select(XElement.Parse)];

        public void StoreElement(XElement element, string friendlyName) =>
            keys.AddAsync(friendlyName, element.ToString(SaveOptions.DisableFormatting), CancellationToken.None).GetAwaiter().GetResult();
    }
}
