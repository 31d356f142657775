-- Realtime reads the server's log of changes; the double is told of them by a trigger, which only it adds.
create schema realtime_double;
create function realtime_double.changed() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    perform pg_notify('realtime', json_build_object('schema', tg_table_schema, 'table', tg_table_name, 'type', tg_op,
        'record', to_json(new), 'commit_timestamp', now())::text);
    return null;
end $$;
create trigger realtime_double after insert or update on public.ccm_sequences
    for each row execute function realtime_double.changed();
