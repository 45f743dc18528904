using NUnit.Framework;

// Most tests wait for a server, a process or a browser: fixtures run side by side, more of them than there are cores.
[assembly: Parallelizable(ParallelScope.Fixtures)]
[assembly: LevelOfParallelism(6)]
