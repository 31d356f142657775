-- CCM: several machines of one user share one queue.
--
-- Apply it with `supabase db push` or in the SQL editor. Applying it again changes nothing.
--
-- What machines share are documents (ccm_entities), numbered per user. Clients read and write no table: they call the
-- ccm_* functions, which check who calls. The one exception is reading one's own row of ccm_sequences, which Realtime
-- needs to tell that there is something new.
--
-- Order of locks: every function that writes locks the user's row of ccm_sequences before anything else. So numbers are
-- committed in their order, a reader that follows them misses none, and no two functions can wait for each other.

create schema if not exists ccm_internal;
revoke all on schema ccm_internal from public;

-- Tables -------------------------------------------------------------------------------------------------------------

-- One row: what this schema is, and the oldest program that it still speaks to.
create table if not exists public.ccm_meta (
    singleton boolean primary key default true check (singleton),
    schema_version integer not null,
    min_protocol integer not null
);
insert into public.ccm_meta (schema_version, min_protocol) values (1, 1) on conflict (singleton) do nothing;

create table if not exists public.ccm_sequences (
    user_id uuid primary key references auth.users (id) on delete cascade,
    -- The number of the user's newest document version.
    seq bigint not null default 0,
    -- The highest number of a tombstone that was removed: whoever stands below it can't follow any more.
    purged bigint not null default 0,
    -- The latest moment of the hybrid logical clock of any document.
    hlc_time bigint not null default 0,
    hlc_count bigint not null default 0
);

-- No foreign key: the trigger below removes a user's rows, and a check of every row would cost each push.
create table if not exists public.ccm_entities (
    user_id uuid not null,
    kind text not null,
    id uuid not null,
    -- null: deleted.
    body jsonb,
    hlc_time bigint not null,
    hlc_count bigint not null,
    -- The moment that its writer gave it. The one above is later where it took the place of a later version.
    said_time bigint not null,
    said_count bigint not null,
    -- The machine that wrote it.
    origin uuid not null,
    seq bigint not null,
    -- The token of the lease that it was said under.
    epoch bigint,
    -- The uuid of the operation that wrote it.
    operation uuid not null,
    primary key (user_id, kind, id)
);
-- The condition holds for all. It is there so that only who asks for an order can use the index: to a planner whose
-- statistics are older than a user, all that the user has looks like one row, and looking up a name by it as good as any.
create unique index if not exists ccm_entities_seq on public.ccm_entities (user_id, seq) where seq > 0;
create index if not exists ccm_entities_tombstones on public.ccm_entities (user_id, seq) where body is null;

create table if not exists public.ccm_devices (
    user_id uuid not null,
    device_id uuid not null,
    incarnation uuid not null,
    hostname text not null,
    protocol integer not null,
    -- The sign-ins that it had; the last one is the one it has.
    sessions uuid[] not null,
    registered_at timestamptz not null,
    last_seen timestamptz not null,
    revoked_at timestamptz,
    -- The last operation that was taken from this incarnation.
    last_number bigint not null default 0,
    last_uuid uuid,
    -- The mark that it left with its last pull, and up to where it had everything then.
    nonce uuid,
    acknowledged bigint not null default 0,
    -- What had been purged when it began to pull from the start.
    began_at_purged bigint not null default 0,
    primary key (user_id, device_id)
);

-- The uuids of the operations that were taken lately, one row a batch.
create table if not exists public.ccm_operations (
    user_id uuid not null,
    device_id uuid not null,
    incarnation uuid not null,
    first_number bigint not null,
    last_number bigint not null,
    uuids uuid[] not null,
    -- What became of those that were not taken as they were, by number.
    outcomes jsonb,
    primary key (user_id, device_id, incarnation, first_number)
);

create table if not exists public.ccm_leases (
    user_id uuid not null,
    task_id uuid not null,
    -- Grows with every holder.
    token bigint not null,
    device_id uuid not null,
    claim uuid not null,
    until timestamptz not null,
    finished boolean not null default false,
    primary key (user_id, task_id)
);

create table if not exists public.ccm_revoked_sessions (
    session_id uuid primary key,
    user_id uuid not null,
    revoked_at timestamptz not null
);

alter table public.ccm_meta enable row level security;
alter table public.ccm_sequences enable row level security;
alter table public.ccm_entities enable row level security;
alter table public.ccm_devices enable row level security;
alter table public.ccm_operations enable row level security;
alter table public.ccm_leases enable row level security;
alter table public.ccm_revoked_sessions enable row level security;

-- A Supabase project grants everything on new tables to its roles.
revoke all on public.ccm_meta, public.ccm_sequences, public.ccm_entities, public.ccm_devices, public.ccm_operations,
    public.ccm_leases, public.ccm_revoked_sessions from public, anon, authenticated;
grant select on public.ccm_sequences to authenticated;
drop policy if exists ccm_own_sequence on public.ccm_sequences;
create policy ccm_own_sequence on public.ccm_sequences
    for select to authenticated using (user_id = (select auth.uid()));

-- What a user had goes with the user.
create or replace function ccm_internal.forget_user() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    delete from public.ccm_entities where user_id = old.user_id;
    delete from public.ccm_operations where user_id = old.user_id;
    delete from public.ccm_leases where user_id = old.user_id;
    delete from public.ccm_devices where user_id = old.user_id;
    delete from public.ccm_revoked_sessions where user_id = old.user_id;
    return null;
end $$;
drop trigger if exists ccm_forget_user on public.ccm_sequences;
create trigger ccm_forget_user after delete on public.ccm_sequences
    for each row execute function ccm_internal.forget_user();

-- Small parts --------------------------------------------------------------------------------------------------------

-- Ends the call: an HTTP status, a code for programs, a sentence and what to do.
create or replace function ccm_internal.fail(p_status integer, p_code text, p_message text, p_hint text) returns void
language plpgsql set search_path = '' as $$
begin
    raise exception using errcode = 'PT' || p_status, message = p_message, detail = p_code, hint = p_hint;
end $$;

-- Microseconds since 1970 UTC.
create or replace function ccm_internal.micros(p_at timestamptz) returns bigint
language sql immutable as $$ select (extract(epoch from p_at) * 1000000)::bigint $$;

-- Whether a definition is run by whichever machine gets its lease.
create or replace function ccm_internal.is_shared(p_body jsonb) returns boolean
language sql immutable as $$
    select coalesce(p_body ->> 'repository', '') <> ''
        and coalesce(p_body -> 'pinned', 'false') <> 'true'
        and (coalesce(p_body -> 'any_machine', 'false') = 'true'
            or coalesce(p_body -> 'tags', '[]') not in ('[]', 'null')
            or coalesce(p_body ->> 'system_type', '') <> '')
$$;

-- What decides who runs a task: a lease, or the machine of this project.
create or replace function ccm_internal.runner(p_body jsonb) returns text
language sql immutable as $$
    select case when ccm_internal.is_shared(p_body) then 'shared ' else 'pinned ' end || coalesce(p_body ->> 'project_id', '')
$$;

-- The first moment of the hybrid logical clock after another; its counter has 32 bits.
create or replace function ccm_internal.after(p_time bigint, p_count bigint, out hlc_time bigint, out hlc_count bigint)
language sql immutable as $$
    select case when p_count < 4294967295 then p_time else p_time + 1 end, case when p_count < 4294967295 then p_count + 1 else 0 end
$$;

create or replace function ccm_internal.row_of(p_entity public.ccm_entities) returns json
language sql stable as $$
    select json_build_object('kind', p_entity.kind, 'id', p_entity.id, 'body', p_entity.body,
        'deleted', p_entity.body is null, 'hlc_time', p_entity.hlc_time, 'hlc_count', p_entity.hlc_count,
        'origin', p_entity.origin, 'seq', p_entity.seq, 'epoch', p_entity.epoch)
$$;

-- Who calls -----------------------------------------------------------------------------------------------------------

-- The user behind the call. What policies can't check in functions that run as their owner is checked here: a second
-- factor that the account has must have been used, and the sign-in must not be that of a revoked machine.
create or replace function ccm_internal.caller(p_protocol integer) returns uuid
language plpgsql set search_path = '' as $$
declare
    v_user uuid := auth.uid();
    v_session text := auth.jwt() ->> 'session_id';
    v_oldest integer;
begin
    if v_user is null or v_session is null then
        perform ccm_internal.fail(401, 'unauthenticated', 'nobody is signed in', 'sign in and try again');
    end if;
    if exists (select from public.ccm_revoked_sessions where session_id = v_session::uuid) then
        perform ccm_internal.fail(403, 'revoked', 'this machine was shut out of the account',
            'sign in again on this machine to let it in again');
    end if;
    if coalesce(auth.jwt() ->> 'aal', 'aal1') <> 'aal2'
        and exists (select from auth.mfa_factors where user_id = v_user and status::text = 'verified') then
        perform ccm_internal.fail(403, 'aal_required', 'the account has a second factor, and this sign-in did not use it',
            'sign in again and give the code');
    end if;
    select min_protocol into v_oldest from public.ccm_meta;
    if p_protocol is null or p_protocol < v_oldest then
        perform ccm_internal.fail(426, 'upgrade', format('the server speaks protocol %s and newer, this program %s',
            v_oldest, coalesce(p_protocol::text, 'none')), 'upgrade ccm on this machine');
    end if;
    return v_user;
end $$;

-- The device that calls. With p_lock the user's row is locked first, and everything is checked under that lock.
create or replace function ccm_internal.enter(p_device uuid, p_incarnation uuid, p_protocol integer, p_lock boolean)
returns public.ccm_devices
language plpgsql set search_path = '' as $$
declare
    v_user uuid := auth.uid();
    v_device public.ccm_devices;
begin
    if p_lock then
        perform from public.ccm_sequences where user_id = v_user for no key update;
    end if;
    v_user := ccm_internal.caller(p_protocol);
    select * into v_device from public.ccm_devices where user_id = v_user and device_id = p_device;
    if not found then
        perform ccm_internal.fail(403, 'not_registered', 'the server does not know this machine', 'register it and try again');
    end if;
    if v_device.revoked_at is not null then
        perform ccm_internal.fail(403, 'revoked', 'this machine was shut out of the account',
            'sign in again on this machine to let it in again');
    end if;
    if p_incarnation is distinct from v_device.incarnation then
        perform ccm_internal.fail(409, 'identity_conflict', 'another machine, or another copy of this one, uses the same identity',
            'give one of them a new identity');
    end if;
    -- Else revoking the device would not reach this sign-in.
    if v_device.sessions[array_upper(v_device.sessions, 1)] <> (auth.jwt() ->> 'session_id')::uuid then
        perform ccm_internal.fail(403, 'not_registered', 'this machine has not registered since it signed in',
            'register it and try again');
    end if;
    return v_device;
end $$;

create or replace function public.ccm_register(
    p_device uuid, p_incarnation uuid, p_previous uuid, p_protocol integer, p_hostname text
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_user uuid := ccm_internal.caller(p_protocol);
    v_session uuid := (auth.jwt() ->> 'session_id')::uuid;
    v_now timestamptz;
    v_sequence public.ccm_sequences;
    v_device public.ccm_devices;
    v_meta public.ccm_meta;
begin
    if p_device is null or p_incarnation is null or coalesce(length(p_hostname), 0) not between 1 and 255 then
        perform ccm_internal.fail(400, 'invalid', 'a machine has an id, an incarnation and a name of 1 to 255 characters',
            'check what the machine calls itself');
    end if;
    insert into public.ccm_sequences (user_id) values (v_user) on conflict (user_id) do nothing;
    select * into v_sequence from public.ccm_sequences where user_id = v_user for no key update;
    -- Again, under the lock: it may have been revoked meanwhile.
    perform ccm_internal.caller(p_protocol);
    v_now := clock_timestamp();

    select * into v_device from public.ccm_devices where user_id = v_user and device_id = p_device;
    if not found then
        insert into public.ccm_devices (user_id, device_id, incarnation, hostname, protocol, sessions, registered_at,
            last_seen, began_at_purged)
        values (v_user, p_device, p_incarnation, p_hostname, p_protocol, array[v_session], v_now, v_now, v_sequence.purged)
        returning * into v_device;
    elsif v_device.incarnation <> p_incarnation and v_device.incarnation is distinct from p_previous then
        perform ccm_internal.fail(409, 'identity_conflict', 'another machine, or another copy of this one, uses the same identity',
            'give one of them a new identity');
    else
        if v_device.incarnation <> p_incarnation then
            delete from public.ccm_operations where user_id = v_user and device_id = p_device;
            v_device.last_number := 0;
            v_device.last_uuid := null;
            v_device.nonce := null;
            v_device.acknowledged := 0;
            v_device.began_at_purged := v_sequence.purged;
        end if;
        -- Its sign-ins are shut out for good. A new one, with password and second factor, lets it in again.
        if v_device.revoked_at is not null then
            update public.ccm_entities set body = body - 'revoked_at', seq = v_sequence.seq + 1
            where user_id = v_user and kind = 'system' and id = p_device and body is not null;
            if found then
                v_sequence.seq := v_sequence.seq + 1;
                update public.ccm_sequences set seq = v_sequence.seq where user_id = v_user;
            end if;
        end if;
        update public.ccm_devices set
            incarnation = p_incarnation, hostname = p_hostname, revoked_at = null, protocol = p_protocol, last_seen = v_now,
            -- The last 100 sign-ins: revoking the device reaches all of them.
            sessions = (array_remove(sessions, v_session) || v_session)[greatest(1, cardinality(sessions) - 98):],
            last_number = v_device.last_number, last_uuid = v_device.last_uuid, nonce = v_device.nonce,
            acknowledged = v_device.acknowledged, began_at_purged = v_device.began_at_purged
        where user_id = v_user and device_id = p_device;
    end if;

    select * into v_meta from public.ccm_meta;
    return jsonb_build_object('server_time', ccm_internal.micros(v_now), 'seq', v_sequence.seq,
        'last_number', v_device.last_number, 'last_uuid', v_device.last_uuid, 'min_protocol', v_meta.min_protocol,
        'schema_version', v_meta.schema_version,
        'clock', jsonb_build_object('time', v_sequence.hlc_time, 'count', v_sequence.hlc_count));
end $$;

-- Push ----------------------------------------------------------------------------------------------------------------

-- Why a device may not write a document: a code, or null if it may.
create or replace function ccm_internal.fault_of_writer(
    p_user uuid, p_device uuid, p_kind text, p_id uuid, p_body jsonb, p_epoch bigint, p_stored public.ccm_entities
) returns text
language plpgsql stable set search_path = '' as $$
declare
    v_task uuid;
    v_definition public.ccm_entities;
    v_lease public.ccm_leases;
    v_owner uuid;
begin
    case p_kind
    when 'system' then
        return case when p_id <> p_device then 'not_owner' end;
    when 'project' then
        return case
            -- A machine that was shut out and came back as a new one has its folders still.
            when p_stored.origin <> p_device and exists (
                select from public.ccm_devices
                where user_id = p_user and device_id = p_stored.origin and revoked_at is null
            ) then 'not_owner'
            when p_body is not null and (p_body ->> 'system_id')::uuid is distinct from p_device then 'not_owner'
        end;
    when 'report', 'run', 'ask', 'transcript' then
        v_task := case when p_kind = 'report' then p_id else (coalesce(p_body, p_stored.body) ->> 'task_id')::uuid end;
        if v_task is null then
            return case when p_body is not null then 'invalid' when p_stored.origin <> p_device then 'not_owner' end;
        end if;
        select * into v_definition from public.ccm_entities where user_id = p_user and kind = 'task' and id = v_task;
        if ccm_internal.is_shared(v_definition.body) then
            select * into v_lease from public.ccm_leases where user_id = p_user and task_id = v_task;
            if found then
                -- A lease that ended by time is still good until somebody else has one.
                return case when v_lease.device_id <> p_device or v_lease.token is distinct from p_epoch then 'lease_lost' end;
            end if;
        end if;
        select origin into v_owner from public.ccm_entities
        where user_id = p_user and kind = 'project' and id = (v_definition.body ->> 'project_id')::uuid;
        -- Where nothing says whose it is, it is whose who says it first.
        return case when coalesce(v_owner, p_stored.origin, p_device) <> p_device then 'not_owner' end;
    else
        return null;
    end case;
end $$;

-- Takes one operation after another, where push can't take them all at once. Its state goes in and out as p_state: the
-- user's sequence and clock.
create or replace function ccm_internal.take(
    p_device public.ccm_devices, p_mode text, p_operation jsonb, p_now timestamptz, inout p_state public.ccm_sequences,
    out status text, out code text, out message text
)
language plpgsql set search_path = '' as $$
declare
    v_user uuid := p_device.user_id;
    v_me uuid := p_device.device_id;
    v_kind text := p_operation ->> 'kind';
    v_id uuid := (p_operation ->> 'id')::uuid;
    v_uuid uuid := (p_operation ->> 'uuid')::uuid;
    v_body jsonb := nullif(p_operation -> 'body', 'null');
    v_time bigint := (p_operation ->> 'hlc_time')::bigint;
    v_count bigint := (p_operation ->> 'hlc_count')::bigint;
    v_base bigint := (p_operation ->> 'base')::bigint;
    v_epoch bigint := (p_operation ->> 'epoch')::bigint;
    v_latest bigint := ccm_internal.micros(p_now) + 60000000;
    v_old public.ccm_entities;
    v_there boolean;
    v_said_time bigint;
    v_said_count bigint;
    v_in_order boolean;
    v_follows boolean;
    v_wins boolean;
    v_kept jsonb;
    v_lost jsonb;
begin
    if v_kind = 'noop' then
        status := 'taken';
        return;
    end if;
    status := 'refused';
    code := 'invalid';
    if v_kind is null or length(v_kind) not between 1 and 64 or v_id is null then
        message := 'a document has a kind and an id';
        return;
    elsif v_body is not null and jsonb_typeof(v_body) <> 'object' then
        message := 'the content of a document is an object';
        return;
    elsif v_time is null or v_time < 0 or v_count is null or v_count not between 0 and 4294967295 then
        message := 'a document has a moment';
        return;
    end if;
    -- Later than any other, but not later than the server allows; so changes of a machine whose clock is wrong keep
    -- their order.
    if v_time > v_latest then
        if p_state.hlc_time < v_latest then
            v_time := v_latest;
            v_count := 0;
        else
            select a.hlc_time, a.hlc_count into v_time, v_count from ccm_internal.after(p_state.hlc_time, p_state.hlc_count) a;
        end if;
    end if;
    v_said_time := v_time;
    v_said_count := v_count;

    select * into v_old from public.ccm_entities where user_id = v_user and kind = v_kind and id = v_id;
    v_there := found;
    code := ccm_internal.fault_of_writer(v_user, v_me, v_kind, v_id, v_body, v_epoch, v_old);
    if code is not null then
        message := case code
            when 'lease_lost' then format('the task of this %s is another machine''s now', v_kind)
            when 'not_owner' then format('this %s belongs to another machine', v_kind)
            else format('this %s does not say which task it is of', v_kind)
        end;
        return;
    end if;

    if v_there then
        -- Of what one machine says the later counts, by its own clock. After older data were put back there it may be
        -- the earlier that comes.
        v_in_order := v_old.origin = v_me and (v_said_time, v_said_count) >= (v_old.said_time, v_old.said_count);
        v_follows := v_in_order or coalesce(v_base >= v_old.seq, false);
        if v_old.body is not distinct from v_body and v_old.origin = v_me
            and (v_old.said_time, v_old.said_count) = (v_said_time, v_said_count) then
            status := 'skipped';
            return;
        end if;
        case v_kind
        when 'wish' then
            -- It never changes; a deleted one stays deleted.
            if v_old.body is null or v_old.body = v_body then
                status := 'skipped';
                return;
            elsif v_body is not null then
                code := 'invalid';
                message := 'a wish is never changed';
                return;
            end if;
        when 'conflict' then
            if v_body is null or v_old.body is null or v_body - 'resolution' <> v_old.body - 'resolution'
                or v_body -> 'resolution' is null then
                code := 'invalid';
                message := 'of a conflict nothing but its resolution can be written';
                return;
            elsif coalesce(v_old.body -> 'resolution', 'null') <> 'null' then
                status := case when v_old.body = v_body then 'skipped' else 'overruled' end;
                return;
            end if;
        when 'task' then
            v_wins := (v_time, v_count, v_me) > (v_old.hlc_time, v_old.hlc_count, v_old.origin);
            if not v_follows and v_old.body is not distinct from v_body then
                -- The same edit, twice.
                status := 'taken';
                return;
            elsif not v_follows and (v_old.origin <> v_me or not v_wins) then
                v_wins := v_wins and p_mode = 'last_write_wins';
                v_kept := jsonb_build_object('origin', v_old.origin,
                    'hlc', jsonb_build_object('time', v_old.hlc_time, 'count', v_old.hlc_count), 'body', v_old.body);
                v_lost := jsonb_build_object('origin', v_me,
                    'hlc', jsonb_build_object('time', v_time, 'count', v_count), 'body', v_body);
                -- Its id is that of the operation that lost: a version loses once.
                p_state.seq := p_state.seq + 1;
                insert into public.ccm_entities (user_id, kind, id, body, hlc_time, hlc_count, said_time, said_count, origin,
                    seq, operation)
                values (v_user, 'conflict', case when v_wins then v_old.operation else v_uuid end,
                    jsonb_build_object('task_id', v_id, 'rule', p_mode,
                        'kept', case when v_wins then v_lost else v_kept end,
                        'lost', case when v_wins then v_kept else v_lost end,
                        'base', p_operation -> 'base_body', 'found_at', ccm_internal.micros(p_now)),
                    v_time, v_count, v_said_time, v_said_count, v_me, p_state.seq, v_uuid)
                on conflict (user_id, kind, id) do update set body = excluded.body, hlc_time = excluded.hlc_time,
                    hlc_count = excluded.hlc_count, said_time = excluded.said_time, said_count = excluded.said_count,
                    origin = excluded.origin, seq = excluded.seq, operation = excluded.operation;
                if (v_time, v_count) > (p_state.hlc_time, p_state.hlc_count) then
                    p_state.hlc_time := v_time;
                    p_state.hlc_count := v_count;
                end if;
                if not v_wins then
                    status := case p_mode when 'manual' then 'conflict' else 'overruled' end;
                    return;
                end if;
            end if;
            if ccm_internal.is_shared(v_old.body) and not coalesce(ccm_internal.is_shared(v_body), false) then
                -- It is one machine's own now, and whoever had its lease has lost it.
                update public.ccm_leases set token = token + 1, finished = true where user_id = v_user and task_id = v_id;
            end if;
        when 'report', 'run', 'ask', 'transcript', 'system', 'project' then
            if v_old.origin = v_me and not v_in_order then
                status := 'overruled';
                return;
            end if;
        else
            -- Of what a newer program shares, the later one counts.
            if not v_follows and (v_time, v_count, v_me) <= (v_old.hlc_time, v_old.hlc_count, v_old.origin) then
                status := 'overruled';
                return;
            end if;
        end case;
        -- What takes the place of another version is later than it.
        if (v_time, v_count) <= (v_old.hlc_time, v_old.hlc_count) then
            select a.hlc_time, a.hlc_count into v_time, v_count from ccm_internal.after(v_old.hlc_time, v_old.hlc_count) a;
        end if;
    elsif v_kind = 'conflict' then
        code := 'invalid';
        message := 'conflicts are made by the server';
        return;
    end if;

    p_state.seq := p_state.seq + 1;
    insert into public.ccm_entities (user_id, kind, id, body, hlc_time, hlc_count, said_time, said_count, origin, seq, epoch,
        operation)
    values (v_user, v_kind, v_id, v_body, v_time, v_count, v_said_time, v_said_count, v_me, p_state.seq, v_epoch, v_uuid)
    on conflict (user_id, kind, id) do update set body = excluded.body, hlc_time = excluded.hlc_time,
        hlc_count = excluded.hlc_count, said_time = excluded.said_time, said_count = excluded.said_count,
        origin = excluded.origin, seq = excluded.seq, epoch = excluded.epoch, operation = excluded.operation;
    if (v_time, v_count) > (p_state.hlc_time, p_state.hlc_count) then
        p_state.hlc_time := v_time;
        p_state.hlc_count := v_count;
    end if;
    status := 'taken';
end $$;

-- Takes a whole batch in one statement if everything in it is plain: numbers that follow on the last one, of known kinds,
-- by their writers, in the order of their moments, over nothing or over versions that were known. Else it does nothing
-- and p_rows is null.
create or replace function ccm_internal.take_all(
    p_device public.ccm_devices, p_operations json, p_now timestamptz, inout p_state public.ccm_sequences,
    out p_uuids uuid[], out p_rows json
)
language plpgsql set search_path = '' as $$
declare
    v_user uuid := p_device.user_id;
    v_me uuid := p_device.device_id;
    v_last bigint := p_device.last_number;
    v_seq bigint := p_state.seq;
    v_latest bigint := ccm_internal.micros(p_now) + 60000000;
    v_plain boolean;
    v_stored bigint;
    v_time bigint;
    v_count bigint;
begin
    -- What is stored is looked up row by row (lateral, limit 1): whatever the planner thinks of the size of the tables, it
    -- must not read all that a user has.
    with operations as materialized (
        select o.*,
            row_number() over entity as nth,
            lead(o.number) over entity is null as is_last,
            lag(o.hlc_time) over entity as time_before,
            lag(o.hlc_count) over entity as count_before,
            case when o.kind = 'report' then o.id when o.kind in ('run', 'ask', 'transcript') then (o.body ->> 'task_id')::uuid
                end as task_id
        from rows from (json_to_recordset(p_operations) as (number bigint, uuid uuid, kind text, id uuid, body jsonb,
            hlc_time bigint, hlc_count bigint, base bigint, epoch bigint)) with ordinality as o (number, uuid, kind, id, body,
            hlc_time, hlc_count, base, epoch, place)
        window entity as (partition by o.kind, o.id order by o.number)
    ),
    -- Who runs the tasks of this batch, as far as one answer holds from before it to its end.
    reported as materialized (
        select o.task_id from operations o where o.task_id is not null group by o.task_id
    ),
    runners as materialized (
        select w.task_id, case when d.id is null then t.runner else ccm_internal.runner(d.body) end as runner,
            case when d.id is null then t.is_one else d.body is not null and coalesce(t.is_one, true)
                and coalesce(t.runner = ccm_internal.runner(d.body), true) end as is_one,
            case when d.id is null then t.number end as after
        from reported w
        left join (
            select t.id, min(t.number) as number, min(t.runner) as runner, min(t.runner) = max(t.runner) as is_one
            from (select o.id, o.number, ccm_internal.runner(o.body) as runner from operations o where o.kind = 'task') t
            group by t.id
        ) t on t.id = w.task_id
        left join lateral (
            select e.id, e.body from public.ccm_entities e
            where e.user_id = v_user and e.kind = 'task' and e.id = w.task_id limit 1
        ) d on true
    ),
    runs as materialized (
        select r.task_id, r.is_one, greatest(r.after, case when p.origin is null then b.number end) as after,
            l.token, l.device_id as holder, coalesce(p.origin, case when b.number is not null then v_me end) as owner
        from (select r.*, nullif(substr(r.runner, 8), '')::uuid as project_id from runners r) r
        left join (select o.id, min(o.number) as number from operations o where o.kind = 'project' group by o.id) b
            on b.id = r.project_id
        left join lateral (
            select l.token, l.device_id from public.ccm_leases l
            where starts_with(r.runner, 'shared ') and l.user_id = v_user and l.task_id = r.task_id limit 1
        ) l on true
        left join lateral (
            select e.origin from public.ccm_entities e
            where e.user_id = v_user and e.kind = 'project' and e.id = r.project_id limit 1
        ) p on true
    ),
    judged as materialized (
        select o.kind, o.id, o.body, o.hlc_time, o.hlc_count, o.epoch, o.uuid, o.number, o.is_last,
            o.uuid is not null and o.number = v_last + o.place and (o.kind = 'noop' or coalesce(
                jsonb_typeof(o.body) = 'object' and o.id is not null
                and o.hlc_time between 0 and v_latest and o.hlc_count between 0 and 4294967295
                and case
                    when o.nth > 1 then (o.hlc_time, o.hlc_count) > (o.time_before, o.count_before) and o.kind <> 'wish'
                    when e.seq is null then true
                    else not e.deleted and o.kind <> 'wish' and (o.hlc_time, o.hlc_count) > (e.hlc_time, e.hlc_count)
                        and (e.origin = v_me or o.kind <> 'task' or o.base >= e.seq)
                end
                and case
                    when o.kind = 'task' then e.seq is null or ccm_internal.is_shared(o.body) = e.shared
                    when o.kind = 'wish' then true
                    when o.kind = 'system' then o.id = v_me
                    when o.kind = 'project' then (o.body ->> 'system_id')::uuid = v_me and coalesce(e.origin, v_me) = v_me
                    when r.task_id is null or not r.is_one or o.number <= r.after then false
                    when r.token is not null then r.holder = v_me and r.token = o.epoch
                    else coalesce(r.owner, e.origin, v_me) = v_me
                end, false)) as is_plain
        from operations o
        left join runs r on r.task_id = o.task_id
        left join lateral (
            select e.seq, e.origin, e.hlc_time, e.hlc_count, e.body is null as deleted,
                case when o.kind = 'task' then ccm_internal.is_shared(e.body) end as shared
            from public.ccm_entities e where e.user_id = v_user and e.kind = o.kind and e.id = o.id limit 1
        ) e on true
    ),
    verdict as materialized (
        select coalesce(bool_and(j.is_plain), true) as is_plain, array_agg(j.uuid order by j.number) as uuids
        from judged j
    ),
    stored as (
        insert into public.ccm_entities as t (user_id, kind, id, body, hlc_time, hlc_count, said_time, said_count, origin,
            seq, epoch, operation)
        select v_user, j.kind, j.id, j.body, j.hlc_time, j.hlc_count, j.hlc_time, j.hlc_count, v_me,
            v_seq + row_number() over (order by j.number), j.epoch, j.uuid
        from judged j
        where j.is_last and j.kind <> 'noop' and (select v.is_plain from verdict v)
        on conflict (user_id, kind, id) do update set body = excluded.body, hlc_time = excluded.hlc_time,
            hlc_count = excluded.hlc_count, said_time = excluded.said_time, said_count = excluded.said_count,
            origin = excluded.origin, seq = excluded.seq, epoch = excluded.epoch, operation = excluded.operation
        -- Who sent the content need not get it again.
        returning t.hlc_time, t.hlc_count, json_build_object('kind', t.kind, 'id', t.id, 'operation', t.operation,
            'hlc_time', t.hlc_time, 'hlc_count', t.hlc_count, 'origin', t.origin, 'seq', t.seq, 'epoch', t.epoch) as document
    )
    select v.is_plain, v.uuids, s.amount, s.newest[1], s.newest[2], s.documents
    into v_plain, p_uuids, v_stored, v_time, v_count, p_rows
    from verdict v,
        (select count(*) as amount, max(array[s.hlc_time, s.hlc_count]) as newest,
            coalesce(json_agg(s.document), '[]') as documents
        from stored s) s;
    if not v_plain then
        p_rows := null;
        return;
    end if;
    p_uuids := coalesce(p_uuids, '{}');
    p_state.seq := p_state.seq + v_stored;
    if (v_time, v_count) > (p_state.hlc_time, p_state.hlc_count) then
        p_state.hlc_time := v_time;
        p_state.hlc_count := v_count;
    end if;
end $$;

-- Removes the tombstones that every machine knows of which was here within 30 days. One that comes later begins anew.
create or replace function ccm_internal.purge(p_user uuid, p_now timestamptz, inout p_state public.ccm_sequences)
language plpgsql set search_path = '' as $$
declare
    v_floor bigint;
    v_highest bigint;
begin
    select min(acknowledged) into v_floor from public.ccm_devices
    where user_id = p_user and revoked_at is null and last_seen > p_now - interval '30 days';
    with gone as (
        delete from public.ccm_entities where user_id = p_user and body is null and seq <= v_floor returning seq
    )
    select max(seq) into v_highest from gone;
    p_state.purged := greatest(p_state.purged, v_highest);
end $$;

create or replace function public.ccm_push(
    p_device uuid, p_incarnation uuid, p_protocol integer, p_mode text, p_operations json
) returns json
language plpgsql security definer set search_path = '' as $$
declare
    v_device public.ccm_devices := ccm_internal.enter(p_device, p_incarnation, p_protocol, true);
    v_user uuid := v_device.user_id;
    v_now timestamptz := clock_timestamp();
    v_before public.ccm_sequences;
    v_state public.ccm_sequences;
    v_first bigint := v_device.last_number + 1;
    v_rows json;
    v_results json;
    v_uuids uuid[] := '{}';
    v_outcomes jsonb := '{}';
    v_outcome jsonb;
    v_operation json;
    v_taken record;
    v_number bigint;
    v_uuid uuid;
    v_next bigint;
    v_known public.ccm_operations;
    v_numbers bigint[] := '{}';
    v_given uuid[] := '{}';
    v_place integer;
    v_fates jsonb[] := '{}';
    v_kinds text[] := '{}';
    v_ids uuid[] := '{}';
begin
    if p_mode is null or p_mode not in ('last_write_wins', 'manual') then
        perform ccm_internal.fail(400, 'invalid', format('there is no rule for conflicts %L', p_mode),
            'use last_write_wins or manual');
    elsif p_operations is null or json_typeof(p_operations) <> 'array' then
        perform ccm_internal.fail(400, 'invalid', 'operations are a list', 'send a list, also an empty one');
    elsif octet_length(p_operations::text) > 8 * 1024 * 1024 then
        perform ccm_internal.fail(413, 'too_large', 'a push has at most 8 MiB', 'send less at once');
    end if;
    select * into v_before from public.ccm_sequences where user_id = v_user;
    v_state := v_before;

    begin
        select t.p_state, t.p_uuids, t.p_rows into v_taken
        from ccm_internal.take_all(v_device, p_operations, v_now, v_state) t;
        v_rows := v_taken.p_rows;
    exception when data_exception or integrity_constraint_violation or program_limit_exceeded then
        -- Something in it can't be read or kept: the other way finds out what.
        v_rows := null;
    end;

    if v_rows is not null then
        v_state := v_taken.p_state;
        v_uuids := v_taken.p_uuids;
        select coalesce(json_agg(json_build_object('number', n, 'status', 'taken')), '[]')
        into v_results from generate_series(v_first, v_device.last_number + cardinality(v_uuids)) n;
    else
        -- Nothing is taken before all numbers are known to be good.
        begin
            select coalesce(array_agg((o ->> 'number')::bigint order by place), '{}'),
                coalesce(array_agg((o ->> 'uuid')::uuid order by place), '{}')
            into v_numbers, v_given
            from json_array_elements(p_operations) with ordinality as e (o, place);
        exception when data_exception then
            perform ccm_internal.fail(400, 'invalid', 'each operation has a number and a uuid', 'check what was sent');
        end;
        for v_place in 1 .. cardinality(v_numbers) loop
            v_number := v_numbers[v_place];
            if v_number is null or v_given[v_place] is null then
                perform ccm_internal.fail(400, 'invalid', 'each operation has a number and a uuid', 'check what was sent');
            elsif v_number < 1 or v_number > coalesce(v_next, v_first) or v_number <> coalesce(v_next, v_number) then
                perform ccm_internal.fail(409, 'gap', format('operation %s does not follow on %s', v_number,
                    coalesce(v_next - 1, v_device.last_number)), 'send what is missing first');
            end if;
            v_next := v_number + 1;
        end loop;
        for v_place in 1 .. cardinality(v_numbers) loop
            exit when v_numbers[v_place] >= v_first;
            if v_known.first_number is null or v_numbers[v_place] > v_known.last_number then
                select * into v_known from public.ccm_operations
                where user_id = v_user and device_id = p_device and incarnation = p_incarnation
                    and first_number <= v_numbers[v_place]
                order by first_number desc limit 1;
            end if;
            -- One that is no longer kept is older than whatever can still be under way.
            if v_known.uuids[v_numbers[v_place] - v_known.first_number + 1] is distinct from v_given[v_place] then
                perform ccm_internal.fail(409, 'identity_conflict',
                    format('the server has another operation %s of this machine', v_numbers[v_place]),
                    'this is an older copy of the machine''s data, or two machines use the same identity');
            end if;
            -- An answer that was lost is given again.
            v_fates := v_fates || (jsonb_build_object('number', v_numbers[v_place], 'status', 'skipped', 'code', null,
                'message', null) || coalesce(v_known.outcomes -> v_numbers[v_place]::text, '{}'));
        end loop;

        v_place := 0;
        for v_operation in select o from json_array_elements(p_operations) as e (o) loop
            v_place := v_place + 1;
            v_number := v_numbers[v_place];
            begin
                if v_number >= v_first then
                    select t.* into v_taken
                    from ccm_internal.take(v_device, p_mode, v_operation::jsonb, v_now, v_state) t;
                    v_state := v_taken.p_state;
                    v_outcome := jsonb_build_object('status', v_taken.status, 'code', v_taken.code, 'message', v_taken.message);
                end if;
                if v_operation ->> 'id' is not null then
                    v_kinds := v_kinds || (v_operation ->> 'kind');
                    v_ids := v_ids || (v_operation ->> 'id')::uuid;
                end if;
            exception when data_exception or integrity_constraint_violation or program_limit_exceeded then
                v_outcome := jsonb_build_object('status', 'refused', 'code', 'invalid', 'message', sqlerrm);
            end;
            continue when v_number < v_first;
            v_fates := v_fates || (jsonb_build_object('number', v_number) || v_outcome);
            v_uuids := v_uuids || v_given[v_place];
            if v_outcome ->> 'status' not in ('taken', 'skipped') then
                v_outcomes := v_outcomes || jsonb_build_object(v_number::text, v_outcome);
            end if;
        end loop;
        v_results := array_to_json(v_fates);
        select coalesce(json_agg(ccm_internal.row_of(e) order by e.seq), '[]') into v_rows
        from (select distinct * from unnest(v_kinds, v_ids) as u (kind, id)) u
        join public.ccm_entities e on e.user_id = v_user and e.kind = u.kind and e.id = u.id;
    end if;

    -- Counted last, because counting reads everything once more.
    if greatest(cardinality(v_uuids), cardinality(v_numbers)) > 1000 then
        perform ccm_internal.fail(413, 'too_large', 'a push has at most 1000 operations', 'send less at once');
    end if;
    if cardinality(v_uuids) > 0 then
        v_device.last_number := v_device.last_number + cardinality(v_uuids);
        insert into public.ccm_operations (user_id, device_id, incarnation, first_number, last_number, uuids, outcomes)
        values (v_user, p_device, p_incarnation, v_first, v_device.last_number, v_uuids, nullif(v_outcomes, '{}'));
        delete from public.ccm_operations
        where user_id = v_user and device_id = p_device and incarnation = p_incarnation
            and first_number <= v_device.last_number - 10000 and last_number <= v_device.last_number - 10000;
        update public.ccm_devices set last_number = v_device.last_number, last_uuid = v_uuids[cardinality(v_uuids)],
            last_seen = v_now, protocol = p_protocol
        where user_id = v_user and device_id = p_device;
    end if;
    v_state := ccm_internal.purge(v_user, v_now, v_state);
    -- Only what is new is told to the other machines.
    if v_state is distinct from v_before then
        update public.ccm_sequences set seq = v_state.seq, purged = v_state.purged, hlc_time = v_state.hlc_time,
            hlc_count = v_state.hlc_count
        where user_id = v_user;
    end if;
    return json_build_object('server_time', ccm_internal.micros(v_now), 'acknowledged', v_device.last_number,
        'results', v_results, 'rows', v_rows);
end $$;

-- Pull ----------------------------------------------------------------------------------------------------------------

create or replace function public.ccm_pull(
    p_device uuid, p_incarnation uuid, p_protocol integer, p_after bigint, p_limit integer, p_nonces uuid[], p_nonce uuid
) returns json
language plpgsql security definer set search_path = '' as $$
declare
    -- Up to where a machine is, is kept for the others.
    v_writes boolean := p_nonce is not null or coalesce(p_after, 0) <= 0;
    v_device public.ccm_devices := ccm_internal.enter(p_device, p_incarnation, p_protocol, v_writes);
    v_user uuid := v_device.user_id;
    v_sequence public.ccm_sequences;
    v_answer json;
begin
    if p_after is null or p_after < 0 or p_limit is null or p_limit < 1 then
        perform ccm_internal.fail(400, 'invalid', 'a pull begins at 0 or later and asks for at least one document',
            'check what was sent');
    end if;
    if not v_writes and v_device.last_seen < now() - interval '1 hour' then
        v_writes := true;
        v_device := ccm_internal.enter(p_device, p_incarnation, p_protocol, true);
    end if;
    select * into v_sequence from public.ccm_sequences where user_id = v_user;
    if p_after > v_sequence.seq
        or v_device.nonce is not null and v_device.nonce <> all (coalesce(p_nonces, '{}'))
        or v_device.nonce is null and p_after > 0 and cardinality(p_nonces) > 0 then
        perform ccm_internal.fail(409, 'restored', 'the server or this machine was put back to an older state',
            'register again and begin from the start');
    elsif p_after > 0 and p_after < v_sequence.purged and v_device.began_at_purged < v_sequence.purged then
        perform ccm_internal.fail(409, 'resync', 'what was deleted meanwhile is no longer known', 'begin from the start');
    end if;
    if v_writes then
        update public.ccm_devices set
            last_seen = clock_timestamp(), protocol = p_protocol, nonce = coalesce(p_nonce, nonce),
            acknowledged = case when p_nonce is not null or p_after = 0 then p_after else acknowledged end,
            began_at_purged = case when p_after = 0 then v_sequence.purged else began_at_purged end
        where user_id = v_user and device_id = p_device;
    end if;

    -- One statement, so one snapshot.
    with page as (
        -- The size that is kept is known without reading; what is read is measured below.
        select e.*, row_number() over oldest as place, sum(coalesce(pg_column_size(e.body), 0)) over oldest as kept_size
        from (
            select * from public.ccm_entities
            where user_id = v_user and seq > p_after and seq > 0 order by seq limit least(p_limit, 1000) + 1
        ) e
        window oldest as (order by e.seq)
    ),
    measured as (
        select t.*, sum(octet_length(t.document)) over (order by t.seq) as size
        from (
            select p.seq, p.place, ccm_internal.row_of((p.user_id, p.kind, p.id, p.body, p.hlc_time, p.hlc_count, p.said_time,
                p.said_count, p.origin, p.seq, p.epoch, p.operation)::public.ccm_entities)::text as document
            from page p
            where p.place = 1 or p.place <= least(p_limit, 1000) and p.kept_size <= 4 * 1024 * 1024
            offset 0
        ) t
    ),
    chosen as (
        select string_agg(m.document, ',' order by m.seq) as documents, max(m.seq) as cursor, count(*) as amount
        from measured m where m.place = 1 or m.size <= 4 * 1024 * 1024
    )
    select json_build_object('server_time', ccm_internal.micros(clock_timestamp()),
        'rows', ('[' || coalesce(c.documents, '') || ']')::json, 'cursor', coalesce(c.cursor, p_after),
        'more', c.amount < (select count(*) from page), 'last_number', v_device.last_number,
        'min_protocol', (select min_protocol from public.ccm_meta))
    into v_answer from chosen c;
    return v_answer;
end $$;

-- Leases --------------------------------------------------------------------------------------------------------------

create or replace function ccm_internal.check_seconds(p_seconds double precision) returns interval
language plpgsql set search_path = '' as $$
begin
    if p_seconds is null or not (p_seconds > 0 and p_seconds <= 86400) then
        perform ccm_internal.fail(400, 'invalid', 'a lease is given for up to a day', 'ask for 0 to 86400 seconds');
    end if;
    return make_interval(secs => p_seconds);
end $$;

create or replace function public.ccm_claim(
    p_device uuid, p_incarnation uuid, p_protocol integer, p_claim uuid, p_task uuid, p_seconds double precision
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_device public.ccm_devices := ccm_internal.enter(p_device, p_incarnation, p_protocol, true);
    v_user uuid := v_device.user_id;
    v_now timestamptz := clock_timestamp();
    v_period interval := ccm_internal.check_seconds(p_seconds);
    v_definition jsonb;
    v_lease public.ccm_leases;
begin
    if p_claim is null or p_task is null then
        perform ccm_internal.fail(400, 'invalid', 'a claim has an id and a task', 'check what was sent');
    end if;
    select body into v_definition from public.ccm_entities where user_id = v_user and kind = 'task' and id = p_task;
    if v_definition is null then
        perform ccm_internal.fail(404, 'no_such_task', format('there is no task %s', p_task), 'pull and look again');
    elsif not ccm_internal.is_shared(v_definition) then
        perform ccm_internal.fail(409, 'lease_held', format('the task %s is run by its own machine', p_task),
            'pull and look again');
    end if;
    select * into v_lease from public.ccm_leases where user_id = v_user and task_id = p_task;
    if v_lease.claim = p_claim and v_lease.device_id = p_device and v_lease.finished then
        perform ccm_internal.fail(409, 'task_ended', format('this claim to the task %s was given back', p_task),
            'claim it again under a new id');
    elsif v_lease.until > v_now and not v_lease.finished then
        if v_lease.claim <> p_claim or v_lease.device_id <> p_device then
            perform ccm_internal.fail(409, 'lease_held', format('another machine runs the task %s', p_task),
                'wait until its lease ends');
        end if;
        -- An answer that was lost is given again.
    else
        if exists (
            select from public.ccm_entities where user_id = v_user and kind = 'report' and id = p_task
                and body ->> 'state' in ('succeeded', 'failed', 'cancelled')
        ) then
            perform ccm_internal.fail(409, 'task_ended', format('the task %s has ended', p_task), 'pull and look again');
        end if;
        insert into public.ccm_leases as l (user_id, task_id, token, device_id, claim, until)
        values (v_user, p_task, 1, p_device, p_claim, v_now + v_period)
        on conflict (user_id, task_id) do update set token = l.token + 1, device_id = excluded.device_id,
            claim = excluded.claim, until = excluded.until, finished = false
        returning * into v_lease;
    end if;
    return jsonb_build_object('token', v_lease.token, 'until', ccm_internal.micros(v_lease.until),
        'server_time', ccm_internal.micros(v_now));
end $$;

create or replace function public.ccm_renew(
    p_device uuid, p_incarnation uuid, p_protocol integer, p_task uuid, p_token bigint, p_seconds double precision
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_device public.ccm_devices := ccm_internal.enter(p_device, p_incarnation, p_protocol, true);
    v_now timestamptz := clock_timestamp();
    v_period interval := ccm_internal.check_seconds(p_seconds);
    v_until timestamptz;
begin
    update public.ccm_leases set until = greatest(until, v_now + v_period)
    where user_id = v_device.user_id and task_id = p_task and device_id = p_device and token = p_token
        and not finished and until > v_now
    returning until into v_until;
    if not found then
        perform ccm_internal.fail(409, 'lease_lost', format('the lease of the task %s has ended or is another machine''s', p_task),
            'stop its run');
    end if;
    return jsonb_build_object('token', p_token, 'until', ccm_internal.micros(v_until),
        'server_time', ccm_internal.micros(v_now));
end $$;

create or replace function public.ccm_finish(
    p_device uuid, p_incarnation uuid, p_protocol integer, p_task uuid, p_token bigint
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_device public.ccm_devices := ccm_internal.enter(p_device, p_incarnation, p_protocol, true);
begin
    update public.ccm_leases set finished = true
    where user_id = v_device.user_id and task_id = p_task and device_id = p_device and token = p_token;
    if not found then
        perform ccm_internal.fail(409, 'lease_lost', format('the lease of the task %s is another machine''s', p_task),
            'leave the task to it');
    end if;
    return jsonb_build_object('server_time', ccm_internal.micros(clock_timestamp()));
end $$;

-- Devices -------------------------------------------------------------------------------------------------------------

create or replace function public.ccm_devices(p_device uuid, p_incarnation uuid, p_protocol integer) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_device public.ccm_devices := ccm_internal.enter(p_device, p_incarnation, p_protocol, false);
begin
    return jsonb_build_object('devices', (
        select jsonb_agg(jsonb_build_object('id', d.device_id, 'hostname', d.hostname,
            'registered_at', ccm_internal.micros(d.registered_at), 'last_seen', ccm_internal.micros(d.last_seen),
            'revoked_at', ccm_internal.micros(d.revoked_at), 'protocol', d.protocol, 'acknowledged', d.acknowledged)
            order by d.registered_at, d.device_id)
        from public.ccm_devices d where d.user_id = v_device.user_id
    ));
end $$;

create or replace function public.ccm_revoke(p_device uuid, p_incarnation uuid, p_protocol integer, p_target uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_device public.ccm_devices := ccm_internal.enter(p_device, p_incarnation, p_protocol, true);
    v_user uuid := v_device.user_id;
    v_now timestamptz := clock_timestamp();
    v_target public.ccm_devices;
    v_state public.ccm_sequences;
begin
    if p_target = p_device then
        perform ccm_internal.fail(400, 'invalid', 'a machine can''t shut itself out', 'disconnect it instead');
    end if;
    select * into v_target from public.ccm_devices where user_id = v_user and device_id = p_target;
    if not found then
        perform ccm_internal.fail(404, 'no_such_device', format('there is no machine %s', p_target), 'look at the list of machines');
    end if;
    -- What another machine uses as well stays that one's.
    insert into public.ccm_revoked_sessions (session_id, user_id, revoked_at)
    select s, v_user, v_now from unnest(v_target.sessions) s
    where s <> (auth.jwt() ->> 'session_id')::uuid
    on conflict (session_id) do nothing;
    begin
        -- Where that is allowed, the sign-in itself ends too.
        delete from auth.sessions where user_id = v_user and id in (
            select session_id from public.ccm_revoked_sessions where user_id = v_user and session_id = any (v_target.sessions)
        );
    exception when insufficient_privilege or undefined_table or undefined_column then
        null;
    end;
    if v_target.revoked_at is null then
        update public.ccm_devices set revoked_at = v_now where user_id = v_user and device_id = p_target;
        select * into v_state from public.ccm_sequences where user_id = v_user;
        v_state.seq := v_state.seq + 1;
        if v_state.hlc_time < ccm_internal.micros(v_now) then
            v_state.hlc_time := ccm_internal.micros(v_now);
            v_state.hlc_count := 0;
        else
            select a.hlc_time, a.hlc_count into v_state.hlc_time, v_state.hlc_count
            from ccm_internal.after(v_state.hlc_time, v_state.hlc_count) a;
        end if;
        -- As machines write times in documents.
        update public.ccm_entities set body = body || jsonb_build_object('revoked_at',
                to_char(v_now at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')),
            seq = v_state.seq, hlc_time = v_state.hlc_time, hlc_count = v_state.hlc_count
        where user_id = v_user and kind = 'system' and id = p_target and body is not null;
        if found then
            update public.ccm_sequences set seq = v_state.seq, hlc_time = v_state.hlc_time, hlc_count = v_state.hlc_count
            where user_id = v_user;
        end if;
    end if;
    return jsonb_build_object('server_time', ccm_internal.micros(v_now));
end $$;

-- Who may call what ---------------------------------------------------------------------------------------------------

revoke all on all functions in schema ccm_internal from public, anon, authenticated, service_role;
do $$
declare
    v_function regprocedure;
begin
    for v_function in
        select p.oid from pg_catalog.pg_proc p
        where p.pronamespace = 'public'::regnamespace and p.proname in ('ccm_register', 'ccm_push', 'ccm_pull', 'ccm_claim',
            'ccm_renew', 'ccm_finish', 'ccm_devices', 'ccm_revoke')
    loop
        execute format('revoke all on function %s from public, anon, authenticated, service_role', v_function);
        execute format('grant execute on function %s to authenticated', v_function);
    end loop;
end $$;

-- Realtime ------------------------------------------------------------------------------------------------------------

do $$
begin
    if not exists (select from pg_catalog.pg_publication where pubname = 'supabase_realtime') then
        create publication supabase_realtime;
    end if;
    if not exists (
        select from pg_catalog.pg_publication_tables
        where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'ccm_sequences'
    ) then
        alter publication supabase_realtime add table public.ccm_sequences;
    end if;
end $$;

notify pgrst, 'reload schema';
