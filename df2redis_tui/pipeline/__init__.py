"""The pipeline of a FLOW: from translated commands to batches in flight, in bounded memory.

Theory of operation. Each FLOW has a pipeline of its own, whose stages are tasks of one event loop:

    reader ──Block──► Channel ──► Accumulator ──Batch──► Limiter ──► writer ──► target
    decodes and       bounded     ╰──────── Dispatcher ────────╯     sends, and matches the replies
    translates

The reader decodes what the socket gives, translates it and puts blocks into the channel. The dispatcher gathers blocks
into batches and hands them to the writer. The writer's connections (one for each node of the target) send, and match
replies. The pipeline lives as long as a session with the source, the writer as long as the run.

*What moves.* Nothing here handles single entries: a block holds up to about 512 KiB of encoded commands of one database
(the journal's at most 4,096 commands; more bytes only where one element is larger), and a batch is a run of blocks. No
step changes the order: the channel and the batches of a FLOW are first in, first out. So for one key, commands are sent
in the order in which its FLOW delivered them. A block may be split to fill a batch, but never between two commands of
one journal record: a position is always behind whole records.

*When a batch goes.* As soon as it is full, by commands (`batch_size`: 2,000, 20,000 for a cluster) or by bytes
(`MAX_BATCH_BYTES`, 2 MiB). A partial batch goes when a command for all shards stands behind it, or when the channel is
empty and one of these is true: the channel was closed; `adaptive_flush` is on, sending is not paused, and fewer than
four batches (or the limit, if that is lower) are in flight; `flush_interval` has passed since its first block was taken
(50 ms; 5 s in the full sync into a cluster). So an idle pipeline adds no delay and a busy one sends full batches.

*What a batch waits for*, in this order: that the target has the databases which it is the first to use; on a cluster,
after a crash, that commands which an earlier run applied are taken out (`before_dispatch`); the rate limit, which is
one for all FLOWs, counts entries of the source, and may be overdrawn by one batch; the gate, which a pause closes; the
writer, which takes nothing while it repairs; a slot of the limiter. Then it is sent, with no other task in between that
could close the gate, begin a repair or take the slot. While it waits, nothing is taken from the channel.

*Who holds how much*, for each FLOW:

    channel       channel_entries commands (2,000,000) or channel_bytes (64 MiB divided among the FLOWs, at least 4 MiB
                  each), whichever comes first. The sender looks before it puts, so one block may stand above it.
    dispatcher    one batch, and the rest of a block that was split for it.
    in flight     max_in_flight batches (50; on a cluster 400 divided by the FLOWs, at least 2) and IN_FLIGHT_BYTES
                  (8 MiB); a batch that is larger by itself goes when it is alone. Batches are kept whole until they are
                  confirmed, since a repair may have to send them again.

A slot is taken when a batch is sent and given back when the batch is confirmed: when every node has answered all of it,
and every batch in front of it is confirmed. What a repair sends again keeps its slot. Only then does the FLOW's
position move, and only that position is acknowledged to the source.

*Backpressure.* A slow target keeps the slots taken; the dispatcher waits with its batch; the channel fills; the reader
waits in `Channel.send` and reads no more (the log says `Parser blocked: channel full` after a second); the socket's
buffer fills, TCP closes the window, and the source's writers wait for us, until its replication timeout (§6) ends the
session. With `--backpressure spill` the journal's bytes are read always and wait in a spool, in front of the decoder.
The bound of the channel is lifted twice: during STARTSTABLE, when the source holds its lock until the FLOWs were read
(before it is sent, each channel has to be less than half full), and when a run that has caught up writes the true
expiry times at its end.

*Commands for all shards* (`Global`, a FLUSHALL for example) travel in the channel in their place. The dispatcher sends
what stands in front, waits until the writer has all of it confirmed (`settle`), then for the gate, then at the barrier
for the other FLOWs. It goes on when the command has run, once.

*Waiting* is by `Signal`: the dispatcher has one, which new blocks, a slot that came back and changed knobs set; the
channel has another for the reader. Every stage reads its knobs when it needs them, so that they can be changed while it
runs. `discard` drops what was not sent: a full sync that became void has no position to resume from.
"""
