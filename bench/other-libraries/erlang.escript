#!/usr/bin/env escript
%% The jobs of the bench between two Erlang nodes: messages to a process by its name, and requests with a reference. The sender
%% is held up by the runtime while too much waits for the connection.
-mode(compile).

-define(CLOCK_EVERY, 64).

main([Role, Job, Port | Numbers]) ->
    spawn(fun exit_with_parent/0),
    case Role of
        "receive" ->
            register(receiver, self()),
            report("{\"ready\":~p}", [Port]),
            serve(0);
        "lead" ->
            [Bytes, StartedMs, WarmMs, Ms] = [list_to_integer(Number) || Number <- Numbers],
            To = {receiver, 'receive@127.0.0.1'},
            pong = net_adm:ping('receive@127.0.0.1'),
            case Job of
                "one-way" -> send(To, binary:copy(<<1>>, Bytes), StartedMs, WarmMs, Ms);
                "request" -> request(To, binary:copy(<<1>>, Bytes), StartedMs, WarmMs, Ms)
            end,
            timer:sleep(infinity)
    end.

exit_with_parent() ->
    case io:get_line("") of
        eof -> halt(0);
        _ -> exit_with_parent()
    end.

report(Format, Values) -> io:format(Format ++ "~n", Values).

now_us() -> erlang:monotonic_time(microsecond).

serve(Received) ->
    receive
        {message, <<First, _/binary>>} -> serve(Received + First);
        {count, From, Ref} -> From ! {Ref, Received}, serve(Received);
        {request, From, Ref, Payload} -> From ! {Ref, Payload}, serve(Received)
    end.

%% One way.

send(To, Message, StartedMs, WarmMs, Ms) ->
    StartedAt = now_us(),
    {First, FirstRate} = rate(To, Message, StartedMs * 1000, 0),
    Warm = First + send_until(StartedAt + WarmMs * 1000, To, Message, 0),
    Warm = count(To),
    {_, Rate} = rate(To, Message, Ms * 1000, Warm),
    report("{\"result\":{\"started\":~p,\"rate\":~p}}", [FirstRate, Rate]).

%% How many messages were sent in that time, and the rate until all have arrived.
rate(To, Message, Us, Before) ->
    From = now_us(),
    Sent = send_until(From + Us, To, Message, 0),
    Arrived = Before + Sent,
    Arrived = count(To),
    {Sent, Sent * 1.0e6 / (now_us() - From)}.

send_until(Until, To, Message, Sent) ->
    case Sent rem ?CLOCK_EVERY =:= 0 andalso now_us() >= Until of
        true -> Sent;
        false -> To ! {message, Message}, send_until(Until, To, Message, Sent + 1)
    end.

count(To) ->
    Ref = make_ref(),
    To ! {count, self(), Ref},
    receive {Ref, Received} -> Received end.

%% Requests, one at a time.

request(To, Payload, StartedMs, WarmMs, Ms) ->
    StartedAt = now_us(),
    First = request_until(StartedAt + StartedMs * 1000, To, Payload, []),
    _ = request_until(StartedAt + WarmMs * 1000, To, Payload, []),
    Later = request_until(now_us() + Ms * 1000, To, Payload, []),
    report("{\"result\":{\"startedP50\":~p,\"p50\":~p,\"p99\":~p}}", [at(0.5, First), at(0.5, Later), at(0.99, Later)]).

request_until(Until, To, Payload, Times) ->
    Before = erlang:monotonic_time(nanosecond),
    case Before >= Until * 1000 of
        true -> Times;
        false ->
            Ref = make_ref(),
            To ! {request, self(), Ref, Payload},
            receive {Ref, _} -> ok end,
            request_until(Until, To, Payload, [(erlang:monotonic_time(nanosecond) - Before) / 1000 | Times])
    end.

at(Share, Times) -> lists:nth(min(length(Times), trunc(length(Times) * Share) + 1), lists:sort(Times)).
